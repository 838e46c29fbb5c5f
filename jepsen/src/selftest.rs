//! Planted bugs: what catches each of them, in how many of how many seeds, and how soon.
//!
//! A suite that can't find a bug that is known to be there finds none that isn't known.

use std::{fs, io, time::Duration};

use crate::{
    job::{self, Common, Done, Job},
    stop::Stop,
    verdict::Outcome,
};

/// Where a bug is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In the product: the program `quorate-mutants`, told by the variable QUORATE_MUTANT.
    Product,
    /// In this harness.
    Harness,
}

/// A planted bug, and what has to catch it.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// Where it is planted.
    pub planted: Where,
    /// The workload that catches it.
    pub workload: &'static str,
    /// The nemeses that catch it.
    pub nemesis: &'static str,
    /// How long clients and nemeses are at work.
    pub seconds: u64,
    /// The promise, where the usual one leaves too little of a lease to see an overlap by.
    pub failover_ms: Option<u64>,
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    product("follower-reads-locally", "register", "latency", 15),
    product("read-without-quorum", "register", "partition-leader", 15),
    product("log-not-synced", "set", "power", 20),
    product("vote-not-persisted", "register", "kill-all", 15),
    product("ack-before-commit", "set", "partition-leader", 15),
    product("quorum-off-by-one", "set", "partition-leader", 15),
    product("blind-retry", "register", "latency", 24),
    product("unknown-told-as-failed", "register", "partition-leader", 24),
    product("precondition-at-member", "register", "latency", 15),
    product("state-by-member", "register", "kill", 12),
    product("snapshot-without-reign", "register", "kill-follower", 12),
    product("epoch-not-increased", "election", "kill-leader", 12),
    product("lease-check-removed", "mutex", "partition-leader", 15),
    product("lease-too-long", "mutex", "partition-leader", 15),
    product("wall-clock-lease", "mutex", "clock+partition-leader", 30),
    product("takeover-without-wait", "mutex", "forge-death", 30),
    product("promise-by-member", "mutex", "promises-differ", 30),
    product("released-epoch-acts", "mutex", "release-held", 40).promising(1_000),
    product("gateway-ignores-epochs", "mutex", "pause-leader", 24),
    product("acked-before-service", "queue", "pause-leader", 20),
    product("child-takes-parents-signals", "queue", "stop-all", 20),
    product("watch-drops-event", "watch", "kill", 12),
    product("doubt-forgotten", "sends", "rabbit-held", 30),
    product("stream-offset-forgotten", "streams", "kill-leader", 20),
    product("tries-forgotten", "tries", "kill-leader", 40),
    product("return-told-as-refused", "replies", "kill-leader", 15),
    product("unknown-command-passed-over", "set", "kill", 12),
    product("validated-in-apply", "set", "kill", 15),
    harness("timeout-is-fail", "register", "latency", 40),
    harness("infos-ignored", "register", "latency", 40),
    harness("disk-lies", "set", "power", 20),
    harness("heals-nothing", "register", "partition-leader", 12),
];

const fn product(
    name: &'static str,
    workload: &'static str,
    nemesis: &'static str,
    seconds: u64,
) -> Mutant {
    Mutant {
        name,
        planted: Where::Product,
        workload,
        nemesis,
        seconds,
        failover_ms: None,
    }
}

const fn harness(
    name: &'static str,
    workload: &'static str,
    nemesis: &'static str,
    seconds: u64,
) -> Mutant {
    Mutant {
        planted: Where::Harness,
        ..product(name, workload, nemesis, seconds)
    }
}

impl Mutant {
    const fn promising(mut self, failover_ms: u64) -> Mutant {
        self.failover_ms = Some(failover_ms);
        self
    }
}

/// The mutant of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Mutant> {
    MUTANTS.iter().find(|mutant| mutant.name == name)
}

/// Whether this bug is planted in this harness.
#[must_use]
pub fn in_harness(name: &str) -> bool {
    named(name).is_some_and(|mutant| mutant.planted == Where::Harness)
}

/// A run that says nothing, because the machine was held up, is done again; so often in all.
const TRIES: u32 = 3;

/// How a mutant fared.
struct Row {
    mutant: &'static Mutant,
    caught: Vec<Duration>,
    runs: usize,
    by: Vec<String>,
}

/// Runs mutants with so many seeds each, writes `mutants.md`; gives whether each was caught
/// in all seeds but one of twenty.
///
/// # Errors
/// When the table can't be written.
pub async fn selftest(
    common: &Common,
    only: &[String],
    seeds: u64,
    stop: &Stop,
) -> io::Result<bool> {
    fs::create_dir_all(&common.out)?;
    let mut rows: Vec<Row> = Vec::new();
    let chosen = |mutant: &&Mutant| only.is_empty() || only.iter().any(|it| it == mutant.name);
    for mutant in MUTANTS.iter().filter(chosen) {
        let mut row = Row {
            mutant,
            caught: Vec::new(),
            runs: 0,
            by: Vec::new(),
        };
        let common = Common {
            failover_ms: mutant.failover_ms.unwrap_or(common.failover_ms),
            ..common.clone()
        };
        for seed in 1..=seeds {
            let job = Job {
                workload: mutant.workload.to_owned(),
                nemesis: mutant.nemesis.to_owned(),
                seed: 1_000 + seed,
                seconds: mutant.seconds,
                members: Some(3),
                mutant: Some(mutant.name.to_owned()),
            };
            let mut tries = 0;
            let done = loop {
                let done = job::run(&common, job.clone(), stop).await;
                if stop.asked() {
                    return Ok(false);
                }
                println!("{}: {}", mutant.name, done.line());
                tries += 1;
                if !done.is_void() || tries == TRIES {
                    break done;
                }
            };
            row.add(&done);
        }
        rows.push(row);
        fs::write(common.out.join("mutants.md"), table(&rows))?;
    }
    println!("{}", table(&rows));
    Ok(!rows.is_empty() && rows.iter().all(Row::holds))
}

impl Row {
    fn add(&mut self, done: &Done) {
        self.runs += 1;
        // A bug in the harness is caught when it lets no run pass; one in the product only
        // when it is seen to be wrong.
        let caught = match self.mutant.planted {
            Where::Product => done.outcome == Outcome::Fail,
            Where::Harness => done.verdict.is_some() && done.outcome != Outcome::Pass,
        };
        if !caught {
            return;
        }
        self.caught.push(done.took);
        let worst = done.verdict.as_ref().and_then(|it| it.findings.first());
        if let Some(worst) = worst {
            let by = format!("{}: {}", worst.checker, worst.kind);
            if !self.by.contains(&by) {
                self.by.push(by);
            }
        }
    }

    fn holds(&self) -> bool {
        self.caught.len() * 20 >= self.runs * 19
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = "| mutant | workload x nemesis | caught by | caught in | seconds, median | seconds, worst |\n|---|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let mut took = row.caught.clone();
        took.sort();
        let seconds = |time: Option<&Duration>| {
            time.map_or("-".to_owned(), |time| time.as_secs().to_string())
        };
        text += &format!(
            "| {} | {} x {} | {} | {} of {} | {} | {} |\n",
            row.mutant.name,
            row.mutant.workload,
            row.mutant.nemesis,
            row.by.join(", "),
            row.caught.len(),
            row.runs,
            seconds(took.get(took.len() / 2)),
            seconds(took.last()),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mutant_names_nemeses_that_exist() {
        for mutant in MUTANTS {
            for name in mutant.nemesis.split('+') {
                assert!(crate::nemesis::named(name).is_ok(), "{}", mutant.name);
            }
            assert!(crate::workload::named(mutant.workload).is_ok());
        }
        assert!(in_harness("heals-nothing") && !in_harness("lease-too-long"));
    }
}
