//! What befalls the connector server, by signals to its processes.

use std::{fmt, fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_clock::Instant;

/// One kind of fault.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// kill -9 of the member's process.
    Kill,
    /// SIGSTOP of the member's process alone; its connectors' processes go on.
    StopMember,
    /// SIGSTOP of the member's process and of all that it has started.
    StopProcesses,
    /// SIGSTOP of the process of this channel alone.
    StopConnector(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill => f.write_str("kill -9 of the member"),
            Fault::StopMember => f.write_str("SIGSTOP of the member's process"),
            Fault::StopProcesses => f.write_str("SIGSTOP of all its processes"),
            Fault::StopConnector(_) => f.write_str("SIGSTOP of a connector's process"),
        }
    }
}

/// Sends a signal; a process that is gone already gets none.
pub fn send(signal: Signal, to: &[Pid]) {
    for pid in to {
        let _ = kill(*pid, signal);
    }
}

/// A process and all that descend from it.
pub fn family(root: Pid) -> Vec<Pid> {
    let mut family = vec![root];
    let parents = parents();
    let mut looked = 0;
    while let Some(parent) = family.get(looked).copied() {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        family.extend(children.map(|(child, _)| *child));
        looked += 1;
    }
    family
}

/// Every process and its parent.
fn parents() -> Vec<(Pid, Pid)> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
        Some((Pid::from_raw(pid), Pid::from_raw(parent)))
    };
    pids.filter_map(parent).collect()
}

/// How long after `begun` a process was gone. Give it up by dropping it: a process that
/// is healed lives on.
pub async fn end(pid: Pid, begun: Instant) -> Duration {
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that nobody has reaped yet has let go of everything.
        if stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ") {
            return begun.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
