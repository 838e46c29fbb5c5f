//! `quorate quickstart`: a whole cluster on this machine, in the foreground.
//!
//! The members and the balancer are ordinary processes, the same that one would run on
//! three machines; this one writes their settings, starts them, waits until they work,
//! says where everything is, and stops them. It restarts nothing: watching a member die
//! is what a quickstart is for.

mod files;
mod fleet;
mod folder;
mod place;
mod ready;
mod report;

use std::{path::PathBuf, process::ExitStatus};

use quorate_clock::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{failure::Failure, output, process};
use fleet::Fleet;
use folder::Folder;

/// The options.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
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
}

/// Runs until Ctrl-C.
pub async fn run(args: Args) -> Result<(), Failure> {
    process::write_privately();
    let mut stop = Stop::listen()?;
    let started = Instant::now();
    let mut fleet = Fleet::new(Folder::prepare(&args)?)?;
    let outcome = tokio::select! {
        outcome = live(&mut fleet, started) => outcome,
        () = stop.asked() => Ok(()),
    };
    let Err(failure) = outcome else {
        eprintln!("stopping");
        return fleet.stop(&mut stop).await;
    };
    // Told now: stopping takes a while. What ran before stays as it was.
    eprintln!("error: {failure}\nstopping");
    fleet.stop_own(&mut stop).await?;
    Err(match failure {
        Failure::Unreachable(_) => Failure::Unreachable("the quickstart did not get ready".into()),
        _ => Failure::Refused("the quickstart could not start".into()),
    })
}

/// Starts everything, says so, and tells of deaths for as long as it is not dropped.
async fn live(fleet: &mut Fleet, started: Instant) -> Result<(), Failure> {
    fleet.start()?;
    ready::wait(fleet).await?;
    report::ready(&fleet.folder, started.elapsed()).await?;
    loop {
        let death = fleet.death().await;
        output::line(report::death(&death.place, death.status))?;
    }
}

/// Ctrl-C or SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Stop, Failure> {
        let told = |error| Failure::Refused(format!("can't listen for signals: {error}"));
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt()).map_err(told)?,
            terminate: signal(SignalKind::terminate()).map_err(told)?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// How a process ended, in words.
fn ending(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    let Some(status) = status else {
        return "ended".into();
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended".into(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => format!("was ended by {signal}"),
            Err(_) => format!("was ended by signal {signal}"),
        },
        (None, None) => "ended".into(),
    }
}

#[cfg(test)]
mod tests;
