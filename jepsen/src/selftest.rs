//! Self-test by planted bugs: what catches each, in how many of how many seeds, and how soon.
//!
//! A suite that can't find a bug that is known to be there finds none that isn't known.

use std::{fs, io, time::Duration};

use crate::{
    cancel::CancelToken,
    job::{self, BatchSettings, FinishedJob, RunJob},
    outcome::RunOutcome,
    planted_bugs::{BugPlace, PLANTED_BUGS, PlantedBug},
};

/// A run that says nothing, because the machine was held up, is done again; so often in all.
const TRIES: u32 = 3;

/// Results of the runs with one planted bug.
struct SelftestRow {
    mutant: &'static PlantedBug,
    caught: Vec<Duration>,
    runs: usize,
    by: Vec<String>,
}

/// Runs planted bugs with so many seeds each, writes `mutants.md`; gives whether each was caught in
/// all seeds but one of twenty.
pub async fn selftest(
    common: &BatchSettings,
    only: &[String],
    seeds: u64,
    cancel: &CancelToken,
) -> io::Result<bool> {
    fs::create_dir_all(&common.out)?;
    let mut rows: Vec<SelftestRow> = Vec::new();
    let chosen = |mutant: &&PlantedBug| only.is_empty() || only.iter().any(|it| it == mutant.name);
    for mutant in PLANTED_BUGS.iter().filter(chosen) {
        let mut row = SelftestRow {
            mutant,
            caught: Vec::new(),
            runs: 0,
            by: Vec::new(),
        };
        let common = BatchSettings {
            failover_ms: mutant.failover_ms.unwrap_or(common.failover_ms),
            ..common.clone()
        };
        for seed in 1..=seeds {
            let job = RunJob {
                workload: mutant.workload.to_owned(),
                nemesis: mutant.nemesis.to_owned(),
                seed: 1_000 + seed,
                seconds: mutant.seconds,
                members: Some(3),
                mutant: Some(mutant.name.to_owned()),
            };
            let mut tries = 0;
            let done = loop {
                let done = job::run(&common, job.clone(), cancel).await;
                if cancel.is_cancelled() {
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
    Ok(!rows.is_empty() && rows.iter().all(SelftestRow::holds))
}

impl SelftestRow {
    fn add(&mut self, done: &FinishedJob) {
        self.runs += 1;
        // A bug in the harness is caught when it lets no run pass; one in the product only
        // when it is seen to be wrong.
        let caught = match self.mutant.planted {
            BugPlace::Product => done.outcome == RunOutcome::Fail,
            BugPlace::Harness => done.verdict.is_some() && done.outcome != RunOutcome::Pass,
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

fn table(rows: &[SelftestRow]) -> String {
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
    use crate::planted_bugs::in_harness;

    #[test]
    fn each_mutant_names_nemeses_that_exist() {
        for mutant in PLANTED_BUGS {
            for name in mutant.nemesis.split('+') {
                assert!(crate::nemesis::named(name).is_ok(), "{}", mutant.name);
            }
            assert!(crate::workload::named(mutant.workload).is_ok());
        }
        assert!(in_harness("heals-nothing") && !in_harness("lease-too-long"));
    }
}
