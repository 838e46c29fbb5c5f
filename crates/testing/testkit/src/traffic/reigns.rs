//! Reigns by the members' own logs: each writes a line when it applies a takeover, and
//! one of the reign that it finds.

use std::{collections::BTreeMap, fs, path::Path};

/// What each member writes of a takeover that it has applied, and of the last one before it
/// was abreast of the others.
const APPLIED: [&str; 2] = [
    "a member has taken over the connectors",
    "the connector server, as found",
];

/// What the logs tell.
#[derive(Debug, Default)]
pub struct ReignMonitor {
    /// Each epoch's holder.
    pub holders: BTreeMap<u64, u64>,
    /// What can't be: an epoch with two holders, or one that was first applied before an
    /// older one was.
    pub problems: Vec<String>,
}

/// Reads the logs of all members. Their lines begin with the time of one clock.
pub fn read<'a>(logs: impl IntoIterator<Item = &'a Path>) -> ReignMonitor {
    let mut reigns = ReignMonitor::default();
    // Of each epoch the line that was written first.
    let mut first: BTreeMap<u64, String> = BTreeMap::new();
    for log in logs {
        let text = fs::read_to_string(log).expect("a member's log");
        let applied = |line: &&str| APPLIED.iter().any(|words| line.contains(words));
        for line in text.lines().filter(applied) {
            let (Some(epoch), Some(holder)) = (field(line, "epoch"), field(line, "holder")) else {
                let problem = format!("a takeover without its figures: {line}");
                reigns.problems.push(problem);
                continue;
            };
            let known = *reigns.holders.entry(epoch).or_insert(holder);
            let earliest = first.entry(epoch).or_insert_with(|| line.to_owned());
            if known != holder {
                let problem = format!("epoch {epoch} has two holders: {earliest} / {line}");
                reigns.problems.push(problem);
            }
            if line < earliest.as_str() {
                *earliest = line.to_owned();
            }
        }
    }
    let lines: Vec<_> = first.into_values().collect();
    for pair in lines.windows(2).filter(|pair| pair[1] < pair[0]) {
        let problem = format!("a newer epoch came first: {} / {}", pair[0], pair[1]);
        reigns.problems.push(problem);
    }
    reigns
}

/// A number in a line of a log, written `name=5` or, in JSON, `"name":5`.
fn field(line: &str, name: &str) -> Option<u64> {
    let plain = line.split_once(&format!("{name}=")).map(|found| found.1);
    let json = || {
        let found = line.split_once(&format!("\"{name}\":"));
        found.map(|found| found.1)
    };
    let rest = plain.or_else(json)?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}
