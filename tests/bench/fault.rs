//! What happens to a member, how that is seen to have happened, and how it is taken back.

use clap::ValueEnum;
use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_testkit::{
    netns::AimedCut,
    process::{family, send, stat},
};
use serde::{Deserialize, Serialize};

use crate::hosts::Hosts;

/// A fault of one host or of its process.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// SIGKILL of the process.
    Kill,
    /// SIGTERM of the process, which may hand over.
    Term,
    /// SIGSTOP of the process alone.
    Stop,
    /// SIGSTOP of the process and of all that it has started.
    Group,
    /// The host is cut off from the other members' hosts, not from broker, service and
    /// clients.
    Partition,
}

/// A fault that can't be seen at its process.
#[derive(Debug, thiserror::Error)]
#[error("{fault} of process {pid} had no effect: its state is {state:?}")]
pub struct NoEffect {
    fault: &'static str,
    pid: u32,
    state: Option<char>,
}

impl From<NoEffect> for String {
    fn from(error: NoEffect) -> String {
        error.to_string()
    }
}

impl Fault {
    /// As the tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill -9",
            Fault::Term => "SIGTERM",
            Fault::Stop => "SIGSTOP",
            Fault::Group => "SIGSTOP of the group",
            Fault::Partition => "partition",
        }
    }

    /// Does it to process `pid` on host `host`; gives the moment before.
    pub fn strike(self, hosts: &Hosts, host: usize, pid: u32) -> Instant {
        let family = if self == Fault::Group {
            family(pid)
        } else {
            vec![pid]
        };
        let cut = (self == Fault::Partition)
            .then(|| tokio::task::block_in_place(|| hosts.aim(host).expect("namespaces")));
        let before = Instant::now();
        match self {
            Fault::Partition => {
                tokio::task::block_in_place(|| cut.map(AimedCut::cut_off)).unwrap_or(())
            }
            Fault::Kill => send(Signal::SIGKILL, &family),
            Fault::Term => send(Signal::SIGTERM, &family),
            Fault::Stop | Fault::Group => send(Signal::SIGSTOP, &family),
        }
        before
    }

    /// Whether it is there, asked some time after the strike and before the end of it.
    pub fn took_effect(self, hosts: &Hosts, host: usize, pid: u32) -> Result<(), NoEffect> {
        let state = stat(pid).map(|stat| stat.state);
        let there = match self {
            Fault::Kill => matches!(state, None | Some('Z' | 'X')),
            // That it ends is seen when it is waited for.
            Fault::Term => true,
            Fault::Stop | Fault::Group => state == Some('T'),
            Fault::Partition => tokio::task::block_in_place(|| hosts.dropped(host)) > 0,
        };
        if there {
            return Ok(());
        }
        Err(NoEffect {
            fault: self.name(),
            pid,
            state,
        })
    }

    /// Takes it back where the process still lives.
    pub fn heal(self, hosts: &Hosts, pid: u32) {
        match self {
            Fault::Kill | Fault::Term => {}
            Fault::Partition => tokio::task::block_in_place(|| hosts.heal()),
            Fault::Stop | Fault::Group => {
                let mut family = family(pid);
                family.reverse();
                send(Signal::SIGCONT, &family);
            }
        }
    }

    /// Whether the process has to be started again afterwards.
    pub fn ends_the_process(self) -> bool {
        matches!(self, Fault::Kill | Fault::Term)
    }
}
