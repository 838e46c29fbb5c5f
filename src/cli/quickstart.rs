//! `quorate quickstart`: a whole cluster on this machine, in the foreground.
//!
//! The members and the balancer are ordinary processes, the same that run on three machines in
//! production; the quickstart writes their settings, starts them, waits until they work, reports
//! where everything is, and stops them. It restarts nothing: watching a member die is what a
//! quickstart is for.

mod certificates;
mod folder;
mod logs;
mod process_fleet;
mod process_spec;
mod readiness;
mod report;
mod settings_files;

use std::{fs::File, io, os::fd::AsFd, path::PathBuf, process::ExitStatus, time::Duration};

use folder::QuickstartFolder;
use nix::sys::signal;
use process_fleet::ProcessFleet;
use quorate_clock::Instant;
use quorate_log::LineQueue;
use quorate_platform::host_processes;
use tokio::signal::unix::{Signal, SignalKind};

use super::{
    error::CliError,
    stop_signals::{StopSignals, listen, write_privately},
};

/// The time for which the end waits until the last lines are out.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The options.
#[derive(Clone, Debug, clap::Args)]
pub struct QuickstartArgs {
    /// The folder for settings, data and logs
    #[arg(long, default_value = "./quickstart")]
    dir: PathBuf,
    /// How many members
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    members: u16,
    /// Members only, without HAProxy
    #[arg(long)]
    no_balancer: bool,
    /// Added to every port in settings that are written now, so that a second quickstart
    /// can run beside the first
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=40_000))]
    port_offset: u16,
    /// TLS between the members and at their admin ports, with certificates in DIR/tls
    #[arg(long)]
    secure: bool,
}

/// Runs until Ctrl-C, or until its terminal is closed.
pub async fn run(args: QuickstartArgs) -> Result<(), CliError> {
    write_privately();
    let mut stop = StopRequests::listen()?;
    let started = Instant::now();
    let mut fleet = ProcessFleet::new(QuickstartFolder::prepare(&args)?)?;
    let out = stdout();
    let outcome = tokio::select! {
        outcome = live(&mut fleet, started, &out) => outcome,
        () = stop.asked() => Ok(()),
    };
    out.flush(LAST_LINES);
    let Err(failure) = outcome else {
        quorate_log::print_note("stopping");
        return fleet.stop(&mut stop).await;
    };
    // Reported now: stopping takes a while. What ran before stays as it was.
    quorate_log::print_note(format_args!("error: {failure}\nstopping"));
    fleet.stop_own(&mut stop).await?;
    Err(match failure {
        CliError::Unreachable(_) => {
            CliError::Unreachable("the quickstart did not get ready".into())
        }
        _ => CliError::Refused("the quickstart could not start".into()),
    })
}

/// Starts everything, reports it, and reports ends of processes for as long as it is not dropped.
async fn live(fleet: &mut ProcessFleet, started: Instant, out: &LineQueue) -> Result<(), CliError> {
    fleet.start()?;
    let logs = fleet
        .folder
        .process_specs()
        .into_iter()
        .map(|place| place.log);
    let work = async {
        readiness::wait(fleet).await?;
        let text = report::ready(&fleet.folder, started.elapsed()).await?;
        out.push(text.as_bytes());
        loop {
            let death = fleet.next_exit().await;
            let text = report::death(&death.process, death.status);
            out.push(format!("{text}\n").as_bytes());
        }
    };
    let logs = logs::keep_small(logs.collect());
    tokio::select! {
        outcome = work => outcome,
        () = logs => Ok(()),
    }
}

/// The output for the user. A terminal that is held (Ctrl-S) or gone must not keep the quickstart
/// from getting Ctrl-C.
fn stdout() -> LineQueue {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(fd) => LineQueue::start("stdout", File::from(fd), |_, _| {}),
        Err(_) => LineQueue::closed(),
    }
}

/// The requests to stop: Ctrl-C, SIGTERM, or the end of the terminal.
struct StopRequests {
    signals: StopSignals,
    /// `None` where the quickstart is to outlive its terminal (`nohup`).
    hangup: Option<Signal>,
}

impl StopRequests {
    fn listen() -> Result<StopRequests, CliError> {
        // Nothing is done for them; without this they would end it.
        drop(listen(SignalKind::user_defined1())?);
        drop(listen(SignalKind::user_defined2())?);
        let hangup = if host_processes::ignores(signal::Signal::SIGHUP) {
            None
        } else {
            Some(listen(SignalKind::hangup())?)
        };
        Ok(StopRequests {
            signals: StopSignals::listen()?,
            hangup,
        })
    }

    /// Waits for the first request to stop. Cancel safe.
    async fn asked(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.signals.next() => {}
            () = hangup => {}
        }
    }

    /// Waits for a further request. A terminal that is closed may ask twice, by its shell and by
    /// the kernel, and means one. Cancel safe.
    async fn asked_again(&mut self) {
        self.signals.next().await;
    }
}

/// Describes how a process ended, as far as that is known.
fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "ended".into(), host_processes::describe_exit)
}

#[cfg(test)]
mod tests;
