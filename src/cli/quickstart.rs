//! `quorate quickstart`: a whole cluster on this machine, in the foreground.
//!
//! The members and the balancer are ordinary processes, the same that one would run on
//! three machines; this one writes their settings, starts them, waits until they work,
//! says where everything is, and stops them. It restarts nothing: watching a member die
//! is what a quickstart is for.

mod files;
mod fleet;
mod folder;
mod logs;
mod place;
mod ready;
mod report;

use std::{fs::File, io, os::fd::AsFd, path::PathBuf, process::ExitStatus, time::Duration};

use fleet::Fleet;
use folder::Folder;
use nix::sys::signal;
use quorate_clock::Instant;
use quorate_log::LineQueue;
use quorate_platform::process;
use tokio::signal::unix::{Signal, SignalKind};

use super::{
    failure::Failure,
    process::{StopSignals, listen, write_privately},
};

/// How long the end waits for the last lines to get out.
const LAST_LINES: Duration = Duration::from_secs(1);

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

/// Runs until Ctrl-C, or until its terminal is closed.
pub async fn run(args: Args) -> Result<(), Failure> {
    write_privately();
    let mut stop = Stop::listen()?;
    let started = Instant::now();
    let mut fleet = Fleet::new(Folder::prepare(&args)?)?;
    let out = stdout();
    let outcome = tokio::select! {
        outcome = live(&mut fleet, started, &out) => outcome,
        () = stop.asked() => Ok(()),
    };
    out.flush(LAST_LINES);
    let Err(failure) = outcome else {
        quorate_log::note("stopping");
        return fleet.stop(&mut stop).await;
    };
    // Told now: stopping takes a while. What ran before stays as it was.
    quorate_log::note(format_args!("error: {failure}\nstopping"));
    fleet.stop_own(&mut stop).await?;
    Err(match failure {
        Failure::Unreachable(_) => Failure::Unreachable("the quickstart did not get ready".into()),
        _ => Failure::Refused("the quickstart could not start".into()),
    })
}

/// Starts everything, says so, and tells of deaths for as long as it is not dropped.
async fn live(fleet: &mut Fleet, started: Instant, out: &LineQueue) -> Result<(), Failure> {
    fleet.start()?;
    let logs = fleet.folder.places().into_iter().map(|place| place.log);
    let work = async {
        ready::wait(fleet).await?;
        let text = report::ready(&fleet.folder, started.elapsed()).await?;
        out.push(text.as_bytes());
        loop {
            let death = fleet.death().await;
            let text = report::death(&death.place, death.status);
            out.push(format!("{text}\n").as_bytes());
        }
    };
    let logs = logs::keep_small(logs.collect());
    tokio::select! {
        outcome = work => outcome,
        () = logs => Ok(()),
    }
}

/// Where it tells its user what goes on. A terminal that is held (Ctrl-S) or gone must not keep
/// it from hearing Ctrl-C.
fn stdout() -> LineQueue {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(fd) => LineQueue::start("stdout", File::from(fd), |_, _| {}),
        Err(_) => LineQueue::closed(),
    }
}

/// Ctrl-C or SIGTERM, or the end of the terminal.
struct Stop {
    signals: StopSignals,
    /// `None` where it is to outlive its terminal (`nohup`).
    hangup: Option<Signal>,
}

impl Stop {
    fn listen() -> Result<Stop, Failure> {
        // Nothing is done for them; without this they would end it.
        drop(listen(SignalKind::user_defined1())?);
        drop(listen(SignalKind::user_defined2())?);
        let hangup = match process::ignores(signal::Signal::SIGHUP) {
            true => None,
            false => Some(listen(SignalKind::hangup())?),
        };
        Ok(Stop {
            signals: StopSignals::listen()?,
            hangup,
        })
    }

    /// Waits until it is asked to stop. Cancel safe.
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

    /// Waits until it is asked again. A terminal that is closed may ask twice, by its shell and
    /// by the kernel, and means one. Cancel safe.
    async fn asked_again(&mut self) {
        self.signals.next().await;
    }
}

/// How a process ended, in words, as far as that is known.
fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "ended".into(), process::ending)
}

#[cfg(test)]
mod tests;
