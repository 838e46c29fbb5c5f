//! Soak: runs for hours, all workloads under all nemeses in turn, alone and in pairs.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use quorate_clock::Instant;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    cancel::CancelToken,
    history::{FaultRecord, ReignObservation},
    job::{self, BatchSettings, FinishedJob, RunJob},
    nemesis,
    outcome::RunOutcome,
    record_file, report, workload,
};

/// Nemeses that are dealt more often than once, as the guarantees are about them.
const OFTEN: &[&str] = &[
    "kill-leader",
    "power",
    "storm",
    "partition",
    "pause-group",
    "kill",
];
/// Every so many runs, one has two nemeses at the same time.
const PAIRS: u32 = 3;

/// Returns whether a nemesis says anything of a workload.
pub fn fits(workload: &str, nemesis: &str) -> bool {
    match nemesis {
        // Who waits for direct replies is gone with its connection to the broker.
        "rabbit" | "rabbit-held" if workload == "replies" => false,
        "rabbit" | "rabbit-held" | "pause-connector" => workload::needs_broker(workload),
        // Room and time that are too small for values of a MiB.
        "power" | "disk-full" | "memory" | "slow-disk" => workload != "large",
        _ => true,
    }
}

/// Deals the next nemesis for a workload; one that doesn't fit it waits for the next workload.
fn deal(rng: &mut StdRng, workload: &str, deck: &mut Vec<&'static str>) -> String {
    loop {
        if let Some(at) = deck.iter().rposition(|name| fits(workload, name)) {
            return deck.remove(at).to_owned();
        }
        deck.clear();
        deck.extend(nemesis::ALL.iter().map(|kind| kind.name));
        deck.extend(OFTEN);
        deck.shuffle(rng);
    }
}

/// The jobs of a soak, without an end; the seed decides.
pub fn jobs(seed: u64, seconds: u64, workloads: Vec<String>) -> impl Iterator<Item = RunJob> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut deck: Vec<&'static str> = Vec::new();
    (0_u64..).map(move |n| {
        let workload = workloads[n as usize % workloads.len()].clone();
        let mut nemesis = deal(&mut rng, &workload, &mut deck);
        if rng.random_ratio(1, PAIRS) {
            let meets = |name: &str| {
                let apart = |a: &str, b: &str| nemesis::apart(a, b).is_some();
                name != nemesis && !apart(&nemesis, name) && !apart(name, &nemesis)
            };
            // The next that can be had beside it; few can beside some.
            let other = deck
                .iter()
                .rposition(|name| fits(&workload, name) && meets(name));
            if let Some(at) = other {
                nemesis = nemesis + "+" + deck.remove(at);
            }
        }
        RunJob {
            workload,
            nemesis,
            seed: seed + n,
            seconds,
            members: None,
            mutant: None,
        }
    })
}

/// Runs until the time is over; writes `summary.md` and `summary.html` after each run.
/// Gives the worst outcome.
pub async fn soak(
    common: &BatchSettings,
    time: Duration,
    jobs: impl Iterator<Item = RunJob>,
    cancel: &CancelToken,
) -> io::Result<RunOutcome> {
    let begun = Instant::now();
    let mut done: Vec<FinishedJob> = Vec::new();
    fs::create_dir_all(&common.out)?;
    for job in jobs {
        if cancel.is_cancelled() || begun.elapsed() >= time {
            break;
        }
        let ran = job::run(common, job, cancel).await;
        println!("{}", ran.line());
        if cancel.is_cancelled() {
            // It was cut short, and says nothing.
            break;
        }
        done.push(ran);
        write(&common.out, &done, begun.elapsed())?;
    }
    println!("{}", common.out.join("summary.md").display());
    Ok(worst(&done))
}

/// The worst of all; nothing is no pass.
pub fn worst(done: &[FinishedJob]) -> RunOutcome {
    let all = done.iter().map(|it| it.outcome);
    all.max().unwrap_or(RunOutcome::Unknown)
}

fn write(out: &Path, done: &[FinishedJob], took: Duration) -> io::Result<()> {
    let folders: Vec<&Path> = done.iter().filter_map(|it| it.folder.as_deref()).collect();
    let summary = report::summary(&folders);
    let mut text = format!("{} min.\n\n", took.as_secs() / 60);
    text += &summary.markdown();
    text += &matrix(done);
    let mut met = FaultTotals::default();
    for folder in &folders {
        met.add(folder);
    }
    text += &met.markdown();
    text += "\n| run that is no pass | outcome | what |\n|---|---|---|\n";
    for it in done.iter().filter(|it| it.outcome != RunOutcome::Pass) {
        text += &format!(
            "| {} x {}, seed {} | {} | {} |\n",
            it.job.workload,
            it.job.nemesis,
            it.job.seed,
            it.outcome,
            it.line().replace('|', "/")
        );
    }
    fs::write(out.join("summary.md"), text)?;
    fs::write(out.join("summary.html"), summary.page(out))
}

/// Formats a table of passes/runs by nemesis and workload.
fn matrix(done: &[FinishedJob]) -> String {
    let mut cells: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for it in done {
        for nemesis in it.job.nemesis.split('+') {
            let cell = cells.entry((nemesis, &it.job.workload)).or_default();
            cell.0 += usize::from(it.outcome == RunOutcome::Pass);
            cell.1 += 1;
        }
    }
    let mut text = format!("\n| passes/runs | {} |\n", workload::ALL.join(" | "));
    text += &format!("|---|{}\n", "---|".repeat(workload::ALL.len()));
    for kind in nemesis::ALL {
        let row: Vec<String> = workload::ALL
            .iter()
            .map(|workload| match cells.get(&(kind.name, *workload)) {
                Some((passes, runs)) => format!("{passes}/{runs}"),
                None => String::new(),
            })
            .collect();
        text += &format!("| {} | {} |\n", kind.name, row.join(" | "));
    }
    text
}

/// Totals of faults that only the runs' files tell.
#[derive(Default)]
struct FaultTotals {
    leader_kills: u64,
    members_killed: u64,
    power_cuts: u64,
}

impl FaultTotals {
    fn add(&mut self, folder: &Path) {
        let faults: Vec<FaultRecord> =
            record_file::read_lines(&folder.join("faults.jsonl")).unwrap_or_default();
        let observations: Vec<ReignObservation> =
            record_file::read_lines(&folder.join("reigns.jsonl")).unwrap_or_default();
        for fault in faults.iter().filter(|fault| fault.effective.is_some()) {
            let power = fault.nemesis == "power";
            if !power && !fault.nemesis.starts_with("kill") {
                continue;
            }
            // Who led when it began, as was seen last before.
            let before = observations.partition_point(|observation| observation.time < fault.begun);
            let leader = observations[..before]
                .iter()
                .rev()
                .find_map(|observation| observation.leader);
            let met = leader.is_some_and(|leader| fault.members.contains(&leader));
            self.leader_kills += u64::from(met);
            self.members_killed += fault.members.len() as u64;
            if power {
                self.power_cuts += fault.members.len() as u64;
            }
        }
    }

    fn markdown(&self) -> String {
        format!(
            "\n| what was met (storms not counted) | |\n|---|---|\n| leaders killed, power cuts included | {} |\n| members killed | {} |\n| members whose power was cut | {} |\n",
            self.leader_kills, self.members_killed, self.power_cuts
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(seed: u64) -> Vec<RunJob> {
        let workloads = workload::ALL.iter().map(|it| (*it).to_owned()).collect();
        jobs(seed, 30, workloads).take(400).collect()
    }

    #[test]
    fn every_nemesis_runs_alone_and_in_pairs() {
        let jobs = some(5);
        assert_eq!(jobs, some(5));
        for kind in nemesis::ALL {
            let alone = jobs.iter().any(|job| job.nemesis == kind.name);
            let in_pair = jobs.iter().any(|job| {
                job.nemesis.contains('+') && job.nemesis.split('+').any(|it| it == kind.name)
            });
            assert!(alone && in_pair, "{}", kind.name);
        }
        for job in &jobs {
            assert!(job.nemesis.split('+').all(|it| fits(&job.workload, it)));
        }
    }
}
