//! Reloading: what is made from files is made anew when they change, or stays as it was.
//!
//! Files are looked at every minute, because notices of changes don't come from network file
//! systems and are missed where a symbolic link is turned, and at once when it is asked for. A bad
//! file is no outage: what ran goes on, the error names the file, and a metric counts it.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use quorate_clock::wall_time;
use quorate_log::RateLimit;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::{
    AcceptedClients, CertificateFiles, CertificatePair, ServerProfile, TlsAcceptor, TlsError,
    Validity, server_config,
};

/// Time between two looks at the files.
const PAUSE: Duration = Duration::from_secs(60);

/// A bad file is told this often.
static BAD_FILES: RateLimit = RateLimit::new(Duration::from_secs(600));

const DAY: Duration = Duration::from_secs(86_400);

/// Times before the end at which it is told once more.
const WARNINGS: [Duration; 3] = [
    Duration::from_secs(30 * 86_400),
    Duration::from_secs(7 * 86_400),
    DAY,
];

/// Consequence of a look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// They are as they were.
    Unchanged,
    /// They are new, and in use from now on.
    Reloaded,
}

/// End of one certificate's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The use of the certificate in a word or two: `member`, `ca`, `http`.
    pub what: String,
    /// The time for which it is valid.
    pub validity: Validity,
}

/// Part of a program that is made from files.
pub trait Reloadable: Send + Sync {
    /// Returns the use of the files in a word, for logs and metrics.
    fn what(&self) -> &str;

    /// Reads the files and takes them in use, if they are good and new. Blocks.
    ///
    /// # Errors
    /// They are bad; what was in use stays.
    fn reload(&self) -> Result<ReloadOutcome, TlsError>;

    /// Returns the ends of the certificates in use.
    fn expiries(&self) -> Vec<CertificateExpiry>;
}

/// Certificate of a server that asks its clients for none, reloaded.
pub struct ReloadedCertificate {
    what: &'static str,
    files: CertificateFiles,
    profile: ServerProfile,
    pair: ArcSwap<CertificatePair>,
    acceptor: Arc<TlsAcceptor>,
}

impl ReloadedCertificate {
    /// Loads the files and makes the acceptor of a face. Blocks.
    ///
    /// # Errors
    /// The files are bad.
    pub fn load(
        what: &'static str,
        files: CertificateFiles,
        profile: ServerProfile,
    ) -> Result<ReloadedCertificate, TlsError> {
        let pair = files.load(wall_time())?;
        let config = server_config(profile, &pair, None)?;
        Ok(ReloadedCertificate {
            what,
            files,
            profile,
            pair: ArcSwap::from_pointee(pair),
            acceptor: Arc::new(TlsAcceptor::new(what, config, AcceptedClients::Any)),
        })
    }

    /// Returns the acceptor, which always has the newest certificate.
    pub fn acceptor(&self) -> Arc<TlsAcceptor> {
        self.acceptor.clone()
    }
}

impl Reloadable for ReloadedCertificate {
    fn what(&self) -> &str {
        self.what
    }

    fn reload(&self) -> Result<ReloadOutcome, TlsError> {
        let pair = self.files.load(wall_time())?;
        if pair.is_same(&self.pair.load()) {
            return Ok(ReloadOutcome::Unchanged);
        }
        let config = server_config(self.profile, &pair, None)?;
        self.acceptor.replace(config);
        self.pair.store(Arc::new(pair));
        Ok(ReloadOutcome::Reloaded)
    }

    fn expiries(&self) -> Vec<CertificateExpiry> {
        vec![CertificateExpiry {
            what: self.what.to_owned(),
            validity: self.pair.load().validity,
        }]
    }
}

/// Looks at the files every minute, and at once for each word on `asked`; never ends.
pub async fn keep_reloaded(parts: Vec<Arc<dyn Reloadable>>, mut asked: mpsc::Receiver<()>) {
    let mut ticks = interval(PAUSE);
    // After a host was suspended one look is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = vec![BTreeMap::new(); parts.len()];
    let mut may_be_asked = true;
    loop {
        let is_asked = tokio::select! {
            _ = ticks.tick() => false,
            word = asked.recv(), if may_be_asked => {
                may_be_asked = word.is_some();
                may_be_asked
            }
        };
        for (part, warned) in parts.iter().zip(&mut warned) {
            let reloading = part.clone();
            let looked = spawn_blocking(move || reloading.reload()).await;
            // A panic in there is no reason to end: what is in use stays.
            if let Ok(outcome) = looked {
                tell(&**part, outcome, is_asked);
            }
            watch_expiry(&**part, warned, wall_time());
        }
    }
}

fn tell(part: &dyn Reloadable, outcome: Result<ReloadOutcome, TlsError>, is_asked: bool) {
    let what = part.what();
    match outcome {
        Ok(ReloadOutcome::Reloaded) => {
            tracing::info!(
                what,
                "certificates were reloaded; connections that are still trusted stay"
            );
        }
        Ok(ReloadOutcome::Unchanged) if is_asked => {
            tracing::info!(what, "certificates are unchanged");
        }
        Ok(ReloadOutcome::Unchanged) => {}
        Err(error) => {
            metrics::counter!("quorate_certificate_reload_failures_total", "what" => what.to_owned())
                .increment(1);
            // Some errors tell the time, and are the same one all the same.
            let cause = format!("{what} {:?}", mem::discriminant(&error));
            if is_asked || BAD_FILES.due(&cause).is_some() {
                tracing::error!(what, "certificates stay as they were: {error}");
            }
        }
    }
}

/// Sets the metrics, and warns of each certificate once in the last 30 days, 7 days and day.
fn watch_expiry(
    part: &dyn Reloadable,
    warned: &mut BTreeMap<String, Option<usize>>,
    now: SystemTime,
) {
    for CertificateExpiry { what, validity } in part.expiries() {
        let left = validity.left(now);
        metrics::gauge!("quorate_certificate_expiry_seconds", "what" => what.clone())
            .set(left.as_secs_f64());
        let step = warning_step(left);
        let before = warned.insert(what.clone(), step).flatten();
        if step > before {
            let days = left.as_secs() / DAY.as_secs();
            tracing::warn!(
                what,
                days,
                "a certificate expires soon: write a new one to its file, and it is taken within a minute"
            );
        }
    }
}

/// Returns how many of the warnings are due, less one.
fn warning_step(left: Duration) -> Option<usize> {
    WARNINGS.iter().rposition(|limit| left <= *limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_at_thirty_seven_and_one_day() {
        let step = |days: u64| warning_step(DAY * days as u32);
        assert_eq!(step(31), None);
        assert_eq!((step(30), step(8)), (Some(0), Some(0)));
        assert_eq!((step(7), step(2)), (Some(1), Some(1)));
        assert_eq!((step(1), step(0)), (Some(2), Some(2)));
    }
}
