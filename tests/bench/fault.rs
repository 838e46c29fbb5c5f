//! What happens to a member, how that is seen to have happened, and how it is taken back.

use std::fs;

use clap::ValueEnum;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_clock::Instant;
use serde::{Deserialize, Serialize};

use crate::{hosts::Hosts, support::netns::Aimed};

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
    pub fn strike(self, hosts: &Hosts, host: usize, pid: Pid) -> Instant {
        let mut family = vec![pid];
        if self == Fault::Group {
            family.extend(descendants(pid));
        }
        let cut = (self == Fault::Partition)
            .then(|| tokio::task::block_in_place(|| hosts.aim(host).expect("namespaces")));
        let before = Instant::now();
        match self {
            Fault::Partition => {
                tokio::task::block_in_place(|| cut.map(Aimed::cut_off)).unwrap_or(())
            }
            Fault::Kill => send(&family, Signal::SIGKILL),
            Fault::Term => send(&family, Signal::SIGTERM),
            Fault::Stop | Fault::Group => send(&family, Signal::SIGSTOP),
        }
        before
    }

    /// Whether it is there, asked some time after the strike and before the end of it.
    pub fn took_effect(self, hosts: &Hosts, host: usize, pid: Pid) -> Result<(), String> {
        let state = state(pid);
        let there = match self {
            Fault::Kill => matches!(state, None | Some('Z' | 'X')),
            // That it ends is seen when it is waited for.
            Fault::Term => true,
            Fault::Stop | Fault::Group => state == Some('T'),
            Fault::Partition => tokio::task::block_in_place(|| hosts.dropped(host)) > 0,
        };
        match there {
            true => Ok(()),
            false => Err(format!(
                "{} of process {pid} had no effect: its state is {state:?}",
                self.name()
            )),
        }
    }

    /// Takes it back where the process still lives.
    pub fn heal(self, hosts: &Hosts, pid: Pid) {
        match self {
            Fault::Kill | Fault::Term => {}
            Fault::Partition => tokio::task::block_in_place(|| hosts.heal()),
            Fault::Stop | Fault::Group => {
                let mut family = descendants(pid);
                family.push(pid);
                send(&family, Signal::SIGCONT);
            }
        }
    }

    /// Whether the process has to be started again afterwards.
    pub fn ends_the_process(self) -> bool {
        matches!(self, Fault::Kill | Fault::Term)
    }
}

/// Some of them may have ended by themselves.
fn send(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill(*pid, signal);
    }
}

/// The letter in /proc; `None` when there is no such process.
fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The processes that `pid` and its children have started and that still live.
pub fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|child| child.parse().ok())
        {
            let child = Pid::from_raw(child);
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}
