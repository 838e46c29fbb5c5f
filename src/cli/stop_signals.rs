//! The signals by which the long-running commands are asked to stop.

use std::{future::Future, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::error::CliError;

/// The time for a member's end after SIGTERM, whatever hangs.
const WATCHDOG: Duration = Duration::from_millis(9_700);

/// Makes files of this process and those that it starts private to their user, whatever the shell's
/// umask: RocksDB and HAProxy make files by themselves, and passwords are in them.
pub(super) fn write_privately() {
    use nix::sys::stat::{Mode, umask};
    let _ = umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// The signals that ask for an orderly end.
pub(super) struct StopSignals([Signal; 3]);

impl StopSignals {
    /// Catches the signals, which then end nothing by themselves.
    pub(super) fn listen() -> Result<StopSignals, CliError> {
        Ok(StopSignals([
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
            listen(SignalKind::quit())?,
        ]))
    }

    /// Waits for one of the signals. Cancel safe.
    pub(super) async fn next(&mut self) {
        let [terminate, interrupt, quit] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// Listens for a signal, which no longer has its usual effect.
pub(super) fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| CliError::Refused(format!("can't listen for signals: {error}")))
}

/// Resolves when SIGTERM, SIGINT or SIGQUIT comes. From then on a second one ends the process at
/// once, and so does a watchdog that depends on nothing that could hang.
///
/// Signals that are sent by habit, and that would end a process that doesn't listen for them, are
/// logged and end nothing: SIGUSR1 and SIGUSR2. SIGHUP, which a terminal sends when it is closed,
/// is for [`reload_asked`].
pub(super) fn stop_asked() -> Result<impl Future<Output = ()>, CliError> {
    let mut signals = StopSignals::listen()?;
    ignore(SignalKind::user_defined1(), "SIGUSR1 is ignored")?;
    ignore(SignalKind::user_defined2(), "SIGUSR2 is ignored")?;
    Ok(async move {
        signals.next().await;
        std::thread::spawn(|| {
            std::thread::sleep(WATCHDOG);
            end("the end took too long; what was left is cut off");
        });
        tokio::spawn(async move {
            signals.next().await;
            end("asked to stop a second time; ending at once");
        });
    })
}

/// Returns a word for each SIGHUP: certificates are to be read again.
pub(super) fn reload_asked() -> Result<mpsc::Receiver<()>, CliError> {
    let mut signal = listen(SignalKind::hangup())?;
    let (asked, asking) = mpsc::channel(1);
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            tracing::info!(
                "SIGHUP: certificates are looked at again, if there are any; settings are read at the start alone, and the log goes to stderr, which is not opened anew"
            );
            // One that waits is enough.
            let _ = asked.try_send(());
        }
    });
    Ok(asking)
}

fn ignore(kind: SignalKind, message: &'static str) -> Result<(), CliError> {
    let mut signal = listen(kind)?;
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            tracing::warn!("{message}");
        }
    });
    Ok(())
}

fn end(why: &str) -> ! {
    // Printing waits a moment for the line. It may not wait longer, since an end is wanted.
    quorate_log::print_note(format_args!("error: {why}"));
    std::process::exit(1)
}
