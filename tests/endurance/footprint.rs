//! What processes take of the machine, as the kernel tells it.

use std::{collections::BTreeMap, fs};

use quorate_testkit::process::{self, stat};

/// One process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// `KIND/NAME` of a connector's process.
    pub label: String,
    /// Its part of the memory that it has, shared pages divided by those who share them; KiB.
    pub pss: u64,
    /// Memory that it alone has and has written to; KiB.
    pub private_dirty: u64,
    pub files: u64,
    pub threads: u64,
}

/// Ticks in a second: fixed at 100 in what Linux shows to programs.
const TICKS: f64 = 100.0;

impl Process {
    /// As it is now; `None` when it is gone.
    pub fn of(pid: u32) -> Option<Process> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Process {
            label: label(pid).unwrap_or_default(),
            pss: field("Pss:")?,
            private_dirty: field("Private_Dirty:")?,
            files: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            threads: fs::read_dir(format!("/proc/{pid}/task")).ok()?.count() as u64,
        })
    }

    pub fn kind(&self) -> &str {
        self.label.split_once('/').map_or("", |(kind, _)| kind)
    }
}

fn label(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut arguments = line.split(|byte| *byte == 0).skip(1);
    (arguments.next()? == b"connector-process").then_some(())?;
    Some(String::from_utf8_lossy(arguments.next()?).into_owned())
}

/// The ids of the connector processes that this member has.
pub fn children(member: u32) -> Vec<u32> {
    let mut pids = process::children(member);
    pids.retain(|pid| label(*pid).is_some());
    pids.sort_unstable();
    pids
}

/// What each of these has used of the processor since they began, in seconds.
pub fn seconds(pids: &[u32]) -> BTreeMap<u32, f64> {
    pids.iter()
        .filter_map(|pid| Some((*pid, stat(*pid)?.ticks as f64 / TICKS)))
        .collect()
}

/// Memory that could be given to programs without swapping; KiB.
pub fn available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}

/// The smallest of these that at least `percent` of all do not exceed.
pub fn percentile(mut values: Vec<u64>, percent: usize) -> u64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}
