//! Hundreds of takeovers in a row, and what they came to.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use clap::Args;
use quorate_clock::{Instant, rng};
use quorate_testkit::{
    cluster,
    takeovers::{
        self, FENCES, TakeoverBed, TakeoverPlan, TakeoverTrial,
        checks::{DUPLICATES_MAX, LINGER, SENT_LATE, TakeoverTotals},
    },
};
use rand::Rng;
use serde_json::{Value, json};

use super::{
    Common, report,
    spread::{Spread, ms},
};

/// How many of which.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// kill -9 of the connector server.
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// SIGSTOP and SIGCONT of the connector server, half of them of all its processes.
    #[arg(long, default_value_t = 100)]
    stops: usize,
    /// SIGSTOP and SIGCONT of a connector's process alone.
    #[arg(long, default_value_t = 20)]
    hangs: usize,
    /// Draws the order and the lengths of the stops; random by default.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// Runs them and writes the report; gives what must not be.
pub async fn run(options: Options) -> Vec<String> {
    let plan = TakeoverPlan {
        kills: options.kills,
        stops: options.stops,
        hangs: options.hangs,
        seed: options.seed.unwrap_or_else(|| rng().random()),
    };
    let failover_ms = options.common.failover_ms;
    println!("{plan:?}, failover_ms {failover_ms}");
    let mut bed = TakeoverBed::start(failover_ms).await;
    // Kept unless all is well.
    bed.cluster.root.disable_cleanup(true);
    println!("logs: {}", bed.cluster.root.path().display());
    let begun = Instant::now();
    let mut trials = Vec::new();
    let ran = takeovers::run(&mut bed, plan, |trial, left| {
        println!("{}", line(trial, left));
        trials.push(trial.clone());
    });
    let problem = ran.await.err();
    let mut totals = takeovers::judge(&mut bed, &trials).await;
    totals
        .findings
        .extend(problem.map(|problem| problem.to_string()));
    let took = begun.elapsed();
    let markdown = markdown(&plan, failover_ms, &trials, &totals, took);
    let raw = raw(&plan, failover_ms, &trials, &totals, took, begun);
    report::write(&options.common.out, "takeovers", &markdown, &raw);
    let keep = !totals.findings.is_empty() || cluster::keep();
    bed.cluster.root.disable_cleanup(keep);
    totals.findings
}

fn times(gaps: &[Option<Duration>]) -> String {
    let gap = |gap: &Option<Duration>| gap.map_or("-".into(), ms);
    gaps.iter().map(gap).collect::<Vec<_>>().join(", ")
}

/// One trial, while the run goes on.
fn line(trial: &TakeoverTrial, left: usize) -> String {
    let stopped = trial.stopped();
    let stopped = stopped.map_or(String::new(), |time| format!(" for {} ms", ms(time)));
    format!(
        "{:3}  {}{stopped}: epoch {} -> {}, first message after {} ms; {} ms in all, {left} left",
        trial.n,
        trial.fault,
        trial.epochs.0,
        trial.epochs.1,
        times(&trial.gaps),
        ms(trial.ended - trial.begun),
    )
}

fn by_fault(trials: &[TakeoverTrial]) -> BTreeMap<String, Vec<&TakeoverTrial>> {
    let mut groups: BTreeMap<String, Vec<&TakeoverTrial>> = BTreeMap::new();
    for trial in trials {
        groups
            .entry(trial.fault.to_string())
            .or_default()
            .push(trial);
    }
    groups
}

fn markdown(
    plan: &TakeoverPlan,
    failover_ms: u64,
    trials: &[TakeoverTrial],
    totals: &TakeoverTotals,
    took: Duration,
) -> String {
    let command = format!(
        "make takeovers ARGS=\"--kills {} --stops {} --hangs {} --seed {} --failover-ms {failover_ms}\"",
        plan.kills, plan.stops, plan.hangs, plan.seed
    );
    let mut text = report::head("Takeovers in a row", &command);
    let _ = writeln!(
        text,
        "\n{} faults of the connector server in {:.0} s, one after the other in random order, `failover_ms` {failover_ms}, \
         with {} messages published meanwhile to two queues: one behind `fence: exclusive`, one behind `fence: lease`. \
         What is stopped is stopped for 0.2 to 3 times `failover_ms`. A member that was killed is a caught-up voter again before the next fault.",
        trials.len(),
        took.as_secs_f64(),
        totals.published
    );
    text.push_str(
        "\n## Times\n\nFrom the signal to the first message that the service handled under the new epoch, ms. \
         For a connector's process that was stopped: the longest silence of its channel.\n\n\
         | fault | fence | faults | with takeover | n | median | p95 | max |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (fault, trials) in by_fault(trials) {
        let over = trials.iter().filter(|t| t.taken_over()).count();
        for (n, fence) in FENCES.iter().enumerate() {
            let gaps: Spread = trials.iter().filter_map(|t| t.gaps[n]).collect();
            let count = trials.len();
            let _ = writeln!(
                text,
                "| {fault} | {fence} | {count} | {over} | {} |",
                gaps.cells()
            );
        }
    }
    text.push_str(&steps(trials));
    text.push_str(
        "\n## Old and new at once\n\nFor how long the broker had two consumers of one queue, and for how long the old process of a channel was still there, and not stopped, \
         after the first message under the new epoch; ms, over the faults in which that was so. \
         Behind `fence: lease` the connection of a process that is stopped stays open until the process goes on and its watchdog ends it, \
         or the broker gives it up. It hands nothing on in that time: the calls below show it.\n\n\
         | fault | fence | two consumers: n | median | p95 | max | two processes: n | median | p95 | max |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (fault, trials) in by_fault(trials) {
        for (n, fence) in FENCES.iter().enumerate() {
            let consumers = positive(trials.iter().map(|trial| trial.overlaps[n]));
            let processes = positive(trials.iter().map(|trial| trial.beside()[n]));
            let _ = writeln!(text, "| {fault} | {fence} | {consumers} | {processes} |");
        }
    }
    let duplicates: usize = totals.duplicates.values().flatten().sum();
    let most = totals.duplicates.values().flatten().max().unwrap_or(&0);
    let beside = trials.iter().flat_map(TakeoverTrial::beside).max();
    let beside = beside.unwrap_or_default();
    let longest = totals.overlaps.iter().max().copied().unwrap_or_default();
    let _ = writeln!(
        text,
        "\n## Checks\n\n| what | must be | was |\n|---|---|---|\n\
         | messages confirmed by the broker and never handled | 0 of {} | {} |\n\
         | epochs with two holders in any member's log | 0 of {} | {} |\n\
         | calls under an epoch after one under a newer epoch had begun | 0 of {}, but for what had passed its member's last check before that was stopped, and was sent within {} ms of its going on | {} |\n\
         | longest time for which calls of two epochs of one channel ran at once, ms | 0 | {} |\n\
         | most consumers of the exclusive queue at once | 1 | {} (asked {} times) |\n\
         | longest time for which an old process, not stopped, was there after the first message under the new epoch, ms | at most {} | {} |\n\
         | duplicates by one fault on one channel | at most {} | {most} ({duplicates} in all) |\n\
         | calls refused by a member or gateway as of an old epoch | counted | {} |",
        totals.published,
        totals.lost.len(),
        totals.reigns,
        totals.two_holders,
        totals.calls,
        SENT_LATE.as_millis(),
        totals.stale.len(),
        ms(longest),
        totals.consumers.first().unwrap_or(&0),
        totals.asked,
        LINGER.as_millis(),
        ms(beside),
        DUPLICATES_MAX,
        totals.fenced,
    );
    match totals.findings.is_empty() {
        true => text.push_str("\nEvery check held.\n"),
        false => {
            text.push_str("\nFound:\n\n");
            for finding in &totals.findings {
                let _ = writeln!(text, "- {}", finding.replace('\n', " "));
            }
        }
    }
    text
}

/// Of times that are not zero, as cells.
fn positive(times: impl Iterator<Item = Duration>) -> String {
    times
        .filter(|time| !time.is_zero())
        .collect::<Spread>()
        .cells()
}

/// The medians of what the takeovers tell of themselves.
fn steps(trials: &[TakeoverTrial]) -> String {
    const STEPS: [&str; 6] = [
        "detected_ms",
        "elected_ms",
        "committed_ms",
        "lease_waited_ms",
        "first_active_ms",
        "last_active_ms",
    ];
    let mut text = "\nWhat the takeovers say of themselves (`quorate takeovers`): medians in ms after the last word of the connector server before.\n\n\
        | fault | why | detected | elected | committed | lease waited | first active | last active |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (fault, trials) in by_fault(trials) {
        let stories: Vec<&Value> = trials.iter().filter_map(|t| t.story.as_ref()).collect();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for story in &stories {
            *reasons
                .entry(story["reason"].as_str().unwrap_or("?"))
                .or_default() += 1;
        }
        let told = trials.iter().filter(|trial| trial.taken_over()).count();
        if told > stories.len() {
            reasons.insert("not told", told - stories.len());
        }
        let why: Vec<_> = reasons
            .iter()
            .map(|(why, n)| format!("{why}: {n}"))
            .collect();
        let median = |step: &&str| {
            let times = stories.iter().filter_map(|story| story[*step].as_f64());
            let times: Spread = times
                .map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1e3))
                .collect();
            times.percentile(50).map_or("-".into(), ms)
        };
        let medians: Vec<_> = STEPS.iter().map(median).collect();
        let _ = writeln!(
            text,
            "| {fault} | {} | {} |",
            why.join(", "),
            medians.join(" | ")
        );
    }
    text
}

fn raw(
    plan: &TakeoverPlan,
    failover_ms: u64,
    trials: &[TakeoverTrial],
    totals: &TakeoverTotals,
    took: Duration,
    start: Instant,
) -> Value {
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let by_fence = |values: Vec<Value>| -> Value {
        let pairs = FENCES.iter().map(|fence| (*fence).to_owned()).zip(values);
        Value::Object(pairs.collect())
    };
    let trials = trials.iter().map(|trial| {
        let gaps = trial.gaps.iter().map(|gap| json!(gap.map(ms))).collect();
        let times = |times: &[Duration]| times.iter().map(|time| json!(ms(*time))).collect();
        json!({
            "fault": trial.fault.to_string(), "begun_ms": ms(trial.begun - start),
            "stopped_ms": trial.stopped().map(ms), "epochs": [trial.epochs.0, trial.epochs.1],
            "first_message_ms": by_fence(gaps), "two_consumers_ms": by_fence(times(&trial.overlaps)),
"two_processes_ms": by_fence(times(&trial.beside())),
            "old_process_gone_ms": by_fence(trial.gone.iter().map(|gone| json!(gone.map(ms))).collect()),
            "duplicates": totals.duplicates.get(&trial.n), "story": trial.story, "whole_ms": ms(trial.ended - trial.begun),
        })
    });
    json!({
        "failover_ms": failover_ms, "seed": plan.seed, "seconds": took.as_secs_f64(),
        "published": totals.published, "calls": totals.calls, "lost": totals.lost,
        "reigns": totals.reigns, "stale": totals.stale.len(), "fenced": totals.fenced,
        "consumers_asked": totals.asked, "findings": totals.findings,
        "trials": trials.collect::<Vec<_>>(),
    })
}
