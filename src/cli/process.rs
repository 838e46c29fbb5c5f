//! What the long-running commands share: their log, and how they are asked to stop.

use std::{future::Future, io::IsTerminal, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::failure::Failure;
use crate::settings::{LogFormat, LogSettings};

/// A member ends within 10 s of SIGTERM, whatever hangs.
const WATCHDOG: Duration = Duration::from_millis(9_700);

/// What this process and those that it starts write is for their user alone, whatever the
/// shell says: RocksDB and HAProxy make files by themselves, and passwords are in them.
pub fn write_privately() {
    use nix::sys::stat::{Mode, umask};
    let _ = umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// Writes the log to stderr, panics included.
pub fn log_to_stderr(settings: &LogSettings) {
    // openraft speaks to its own authors; what matters of it is told by the part that uses
    // it. Whoever wants to hear it all the same says log.level = "info,openraft=info".
    let filter = EnvFilter::new(format!("openraft=off,{}", settings.level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second call, in a program that has a log of its own, changes nothing.
    let _ = match settings.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!("panic: {panic}\n{backtrace}");
    }));
}

/// Comes when SIGTERM or SIGINT does. From then on a second one ends the process at once,
/// and so does a watchdog that depends on nothing that could hang.
pub fn stop_asked() -> Result<impl Future<Output = ()>, Failure> {
    let told = |error| Failure::Refused(format!("can't listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::thread::spawn(|| {
            std::thread::sleep(WATCHDOG);
            end("the end took too long; what was left is cut off");
        });
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            end("asked to stop a second time; ending at once");
        });
    })
}

fn end(why: &str) -> ! {
    eprintln!("error: {why}");
    std::process::exit(1)
}
