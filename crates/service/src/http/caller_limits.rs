//! Limits on callers of channels: how often they may call, and how often they may fail to say who
//! they are.
//!
//! They are kept by each member for itself, in bounded tables: a cluster as a whole lets through as
//! many times more as it has members. Who comes too often is answered with 429, before anything
//! else is done for it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_resources::{ChannelRateLimit, HttpChannel, RateScope};
use quorate_types::{BucketRate, BucketTable, FailedLogins, source_network};

use super::{
    channel_guard::{Caller, GuardRefusal},
    error_envelope::HttpRefusal,
};
use crate::call_limiter::count_refused;

/// Callers whose calls are counted.
const CALLERS_MAX: usize = 100_000;

/// What is wrong with credentials that may have been guessed. Whose token has expired, or whose
/// signature is old, has shown something that is or was good: to hold that up would lock out all
/// who share its address.
const GUESSES: [&str; 6] = [
    "password",
    "key",
    "token_form",
    "token_signature",
    "signature",
    "certificate",
];

/// Counts of one member.
pub(super) struct CallerLimits {
    failed: Mutex<FailedLogins>,
    calls: Mutex<BucketTable<CallsKey>>,
}

/// Whose calls are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum CallsKey {
    Channel(Arc<str>),
    Source(Arc<str>, IpAddr),
    Caller(Arc<str>, String),
}

impl Default for CallerLimits {
    fn default() -> CallerLimits {
        CallerLimits {
            failed: Mutex::default(),
            calls: Mutex::new(BucketTable::new(CALLERS_MAX)),
        }
    }
}

impl CallerLimits {
    /// Refuses a source that has failed too often, before its credentials are looked at.
    pub(super) fn check_failures(&self, source: IpAddr) -> Result<(), HttpRefusal> {
        let wait = self.failed.lock().wait(source, Instant::now());
        match wait {
            None => Ok(()),
            Some(wait) => {
                count_failure("too_many");
                let why =
                    "too many credentials of this address were wrong; the request was not handled";
                Err(too_many(why, wait))
            }
        }
    }

    /// Notes that a caller was refused, if its credentials were wrong.
    pub(super) fn note_refusal(&self, refused: &GuardRefusal, source: IpAddr, channel: &str) {
        let Some(reason) = refused.failed else {
            return;
        };
        count_failure(reason);
        if !GUESSES.contains(&reason) {
            return;
        }
        let is_first = self.failed.lock().record(source, Instant::now());
        if is_first {
            tracing::warn!(%source, channel, reason, "wrong credentials; further ones of this address within a minute are counted in quorate_auth_failures_total alone");
        }
    }

    /// Takes one of the calls that a channel allows before it is known who calls.
    pub(super) fn take_unidentified(
        &self,
        channel: &HttpChannel,
        source: IpAddr,
    ) -> Result<(), HttpRefusal> {
        let Some(limit) = &channel.rate_limit else {
            return Ok(());
        };
        let name = channel.name.as_str().into();
        match limit.per {
            // What others have no credentials for takes nothing from those who have.
            RateScope::Caller | RateScope::Channel => Ok(()),
            RateScope::Source => self.take(limit, CallsKey::Source(name, source_network(source))),
        }
    }

    /// Takes one of the calls that a channel allows each caller, or all together. Without a caller
    /// it is the source that counts.
    pub(super) fn take_identified(
        &self,
        channel: &HttpChannel,
        caller: Option<&Caller>,
        source: IpAddr,
    ) -> Result<(), HttpRefusal> {
        let Some(limit) = &channel.rate_limit else {
            return Ok(());
        };
        let name = channel.name.as_str().into();
        let key = match (limit.per, caller) {
            (RateScope::Source, _) => return Ok(()),
            (RateScope::Channel, _) => CallsKey::Channel(name),
            (RateScope::Caller, Some(caller)) => CallsKey::Caller(name, caller.name().to_owned()),
            (RateScope::Caller, None) => CallsKey::Source(name, source_network(source)),
        };
        self.take(limit, key)
    }

    fn take(&self, limit: &ChannelRateLimit, key: CallsKey) -> Result<(), HttpRefusal> {
        let window = Duration::from_secs(limit.window_s.into());
        let burst = limit.burst.unwrap_or(limit.requests);
        let rate = BucketRate::new(limit.requests, window, burst);
        let taken = self.calls.lock().try_take(&key, rate, Instant::now());
        taken.map_err(|wait| {
            count_refused("rate_limit");
            too_many(
                "this channel is called too often; the request was not handled",
                wait,
            )
        })
    }
}

fn count_failure(reason: &'static str) {
    metrics::counter!("quorate_auth_failures_total", "face" => "http", "reason" => reason)
        .increment(1);
}

/// Refuses with the time to wait, in whole seconds.
fn too_many(why: &str, wait: Duration) -> HttpRefusal {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    HttpRefusal::new(StatusCode::TOO_MANY_REQUESTS, why)
        .with(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
}
