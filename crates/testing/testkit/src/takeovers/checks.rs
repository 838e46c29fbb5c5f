//! Checks of a whole run.

use std::{collections::BTreeMap, time::Duration};

use quorate_clock::Instant;

use super::{
    bed::{FENCES, PREFETCH, TakeoverBed},
    trial::TakeoverTrial,
};
use crate::traffic::{
    reigns,
    sink::SinkCall,
    verdict::{self, StaleCall},
};

/// How long the last messages may take once nothing happens any more.
const LAST: Duration = Duration::from_secs(60);

/// The most duplicates of one channel by one fault: what the old process held unacked and
/// what it was handing on at that time.
pub const DUPLICATES_MAX: usize = 2 * PREFETCH;

/// For how long a process whose lease is over may still be found, not stopped, once a
/// message was handled under the new epoch: it was told to end, or ends itself, and the
/// machine has to get round to it.
pub const LINGER: Duration = Duration::from_millis(250);

/// How long after it was resumed a member may send what had passed its last check, of the
/// lease, before it was stopped. No check can be later than that; a service that must not
/// see such a call compares epochs.
pub const SENT_LATE: Duration = Duration::from_millis(100);

/// What a run came to, and what was wrong with it.
#[derive(Clone, Debug, Default)]
pub struct TakeoverTotals {
    /// Messages that the broker had confirmed.
    pub published: usize,
    /// Calls of the service.
    pub calls: usize,
    /// Messages that were confirmed and never handled.
    pub lost: Vec<String>,
    /// Calls beyond the first of a message, by the fault during or after which they began.
    pub duplicates: BTreeMap<usize, Vec<usize>>,
    /// Calls under an epoch after one under a newer epoch had begun.
    pub stale: Vec<StaleCall>,
    /// Calls of two epochs of one channel that ran at once: how many epochs, the longest.
    pub overlaps: Vec<Duration>,
    /// Epochs in the members' logs.
    pub reigns: usize,
    /// Those of them with two holders, or that came out of order.
    pub two_holders: usize,
    /// Messages that were refused as of an old epoch.
    pub fenced: u64,
    /// How often the broker was asked for its consumers.
    pub asked: u64,
    /// The most consumers at once, by fence.
    pub consumers: Vec<u32>,
    /// One sentence for each thing that must not be.
    pub findings: Vec<String>,
}

/// Ends the load, waits until every message is handled, and looks at everything.
pub async fn judge(bed: &mut TakeoverBed, trials: &[TakeoverTrial]) -> TakeoverTotals {
    let mut totals = TakeoverTotals::default();
    let published = bed.source.finish().await;
    totals.published = published.len();
    let deadline = Instant::now() + LAST;
    loop {
        totals.lost = verdict::lost(&published, &bed.sink.calls());
        if totals.lost.is_empty() || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left = bed.rest().await;
    let calls = bed.sink.calls();
    totals.calls = calls.len();
    totals.stale = verdict::stale(&calls);
    totals.overlaps = verdict::overlaps(&calls).into_values().collect();
    totals.duplicates = duplicates(&calls, trials);
    totals.consumers = bed.consumers.iter().map(|c| c.most()).collect();
    for consumers in bed.consumers.drain(..) {
        totals.asked += consumers.finish().await;
    }
    let logs: Vec<_> = bed.cluster.members.iter().map(|m| m.log()).collect();
    let reigns = reigns::read(logs.iter().map(|log| log.as_path()));
    totals.reigns = reigns.holders.len();
    totals.two_holders = reigns.problems.len();
    totals.fenced = bed.fenced.look(&bed.cluster).await;
    totals.findings = left.into_iter().chain(reigns.problems).collect();
    let findings = findings(&totals, trials);
    totals.findings.extend(findings);
    totals
}

fn findings(totals: &TakeoverTotals, trials: &[TakeoverTrial]) -> Vec<String> {
    let mut findings = Vec::new();
    if !totals.lost.is_empty() {
        findings.push(format!("lost: {}", totals.lost.join(", ")));
    }
    for stale in &totals.stale {
        let StaleCall {
            channel,
            id,
            epoch,
            newer,
            late,
            ..
        } = stale;
        let trial = trials.iter().rev().find(|trial| trial.begun <= stale.begun);
        if trial.is_some_and(|trial| sent_late(stale, trial)) {
            continue;
        }
        let told = trial.map_or("before any fault".into(), |trial| {
            let resumed = trial
                .resumed
                .map(|at| stale.begun.saturating_duration_since(at));
            format!(
                "trial {}, {}, {resumed:?} after it was resumed",
                trial.n, trial.fault
            )
        });
        findings.push(format!(
            "channel {channel}: message {id} was handled under epoch {epoch} {late:?} after the first of epoch {newer} ({told})"
        ));
    }
    for trial in trials {
        let late = totals.stale.iter().filter(|stale| sent_late(stale, trial));
        let late = late.count();
        if late > PREFETCH * FENCES.len() {
            findings.push(format!(
                "trial {}: {late} calls were sent after it was resumed",
                trial.n
            ));
        }
    }
    if let Some(longest) = totals.overlaps.iter().max() {
        let count = totals.overlaps.len();
        findings.push(format!(
            "calls of two epochs ran at once {count} times, the longest for {longest:?}"
        ));
    }
    for (trial, counts) in &totals.duplicates {
        for (fence, count) in FENCES.iter().zip(counts) {
            if *count > DUPLICATES_MAX {
                findings.push(format!("trial {trial}: {count} duplicates of channel {fence}, more than {DUPLICATES_MAX}"));
            }
        }
    }
    if totals.consumers[0] > 1 {
        let most = totals.consumers[0];
        findings.push(format!("{most} consumers at once of the exclusive queue"));
    }
    for trial in trials {
        for (fence, beside) in FENCES.iter().zip(trial.beside()) {
            if beside > LINGER {
                findings.push(format!(
                    "trial {}, {}: the old process of {fence} was there for {beside:?} beside the new one",
                    trial.n, trial.fault
                ));
            }
        }
    }
    let mut last = 0;
    for trial in trials {
        if trial.epochs.0 < last || trial.epochs.1 < trial.epochs.0 {
            findings.push(format!(
                "trial {}: epoch {:?} after {last}",
                trial.n, trial.epochs
            ));
        }
        last = trial.epochs.1;
    }
    findings
}

/// Whether a call had passed the member's last check before it was stopped and was sent
/// when it went on.
fn sent_late(stale: &StaleCall, trial: &TakeoverTrial) -> bool {
    let resumed = trial
        .resumed
        .is_some_and(|resumed| stale.begun >= resumed && stale.begun <= resumed + SENT_LATE);
    resumed && trial.epochs.0 == stale.epoch
}

/// Counts each call beyond a message's first at the last fault before it.
fn duplicates(calls: &[SinkCall], trials: &[TakeoverTrial]) -> BTreeMap<usize, Vec<usize>> {
    let mut seen = std::collections::BTreeSet::new();
    let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for call in calls {
        if seen.insert(call.id.as_str()) {
            continue;
        }
        let trial = trials.iter().rev().find(|trial| trial.begun <= call.begun);
        let (Some(trial), Some(fence)) = (trial, FENCES.iter().position(|f| *f == call.channel))
        else {
            continue;
        };
        found
            .entry(trial.n)
            .or_insert_with(|| vec![0; FENCES.len()])[fence] += 1;
    }
    found
}
