//! Tasks beside openraft: follow its metrics, and have snapshots taken.

use std::{sync::Arc, time::Duration};

use openraft::{
    Instant as _, LogIdOptionExt, RaftMetrics, TokioInstant, async_runtime::watch::WatchReceiver,
};
use quorate_clock::Instant;
use tokio::time::{sleep, sleep_until};

use super::{leadership::MetricsObservation, metered_machine::LogGrowth};
use crate::{consensus::ConsensusHandle, membership::MemberRegistry, storage::raft_types::Types};

/// Time in which one look at the metrics is enough: openraft publishes more often than anyone
/// can use under load. What must be seen at once comes from the peer server (see
/// `leadership`).
const PAUSE: Duration = Duration::from_millis(1);

/// Takes in openraft's metrics until openraft stops.
pub(super) async fn follow_raft_metrics(
    consensus: Arc<ConsensusHandle>,
    registry: Arc<MemberRegistry>,
) {
    let (me, tracker) = (consensus.id, &consensus.tracker);
    let mut metrics = consensus.raft.metrics();
    let mut members = None;
    let mut acked = QuorumAckInstant::default();
    loop {
        // Taken first: what the metrics say was true after it.
        let now = Instant::now();
        let seen = metrics.borrow_watched().clone();
        if seen.running_state.is_err() {
            tracker.stopped();
            if !consensus.is_closing() {
                tracing::error!(
                    member = me,
                    "consensus has stopped: {:?}",
                    seen.running_state
                );
            }
            return;
        }
        observe(&consensus, &seen, now, &mut acked);
        if members.as_ref() != Some(&seen.membership_config) {
            registry.membership_changed(&seen.membership_config);
            members = Some(seen.membership_config.clone());
        }
        set_gauges(&seen, me);
        // While there is no working leader each step counts.
        if has_working_leader(&seen, me) {
            sleep(PAUSE).await;
        }
        // The only voter needs no answers, so nothing changes while it is idle.
        let alone = only_voter(&seen, me);
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return tracker.stopped() },
            () = sleep_until(now + consensus.timing().lease.heartbeat), if alone => {}
        }
    }
}

/// Returns whether a leader is known, which has committed something if it is this member.
fn has_working_leader(seen: &RaftMetrics<Types>, me: u64) -> bool {
    match seen.current_leader {
        Some(leader) if leader == me => own_commit(seen, me),
        known => known.is_some(),
    }
}

/// Returns whether the last committed entry is of this member as leader of this term.
fn own_commit(seen: &RaftMetrics<Types>, me: u64) -> bool {
    let committed = seen.local_committed.as_ref();
    committed.is_some_and(|id| id.leader_id.term == seen.current_term && id.leader_id.node_id == me)
}

fn observe(
    consensus: &ConsensusHandle,
    seen: &RaftMetrics<Types>,
    now: Instant,
    acked: &mut QuorumAckInstant,
) {
    let acked = seen.last_quorum_acked.map(|at| acked.at(at.into_inner()));
    let observed = MetricsObservation {
        term: seen.current_term,
        leader: seen.current_leader,
        own_commit: own_commit(seen, consensus.id),
        quorum_acked: if only_voter(seen, consensus.id) {
            Some(now)
        } else {
            acked
        },
    };
    let elected = consensus.tracker.observe(observed, Instant::now());
    if elected {
        metrics::counter!("quorate_elections_won_total").increment(1);
        tracing::info!(member = consensus.id, term = seen.current_term, "elected");
    }
}

/// Last instant that openraft gave, beside ours: openraft's can't be taken out of their wrapper,
/// only measured against now.
#[derive(Default)]
struct QuorumAckInstant(Option<(TokioInstant, Instant)>);

impl QuorumAckInstant {
    /// Returns the same point in time or, by the moment between two looks at the clock, an
    /// earlier one.
    fn at(&mut self, at: TokioInstant) -> Instant {
        match self.0 {
            Some((known, same)) if known == at => same,
            _ => {
                let now = Instant::now();
                let same = now.checked_sub(at.elapsed()).unwrap_or(now);
                self.0 = Some((at, same));
                same
            }
        }
    }
}

fn only_voter(seen: &RaftMetrics<Types>, me: u64) -> bool {
    let mut voters = seen.membership_config.voter_ids();
    seen.current_leader == Some(me) && voters.next() == Some(me) && voters.next().is_none()
}

fn set_gauges(seen: &RaftMetrics<Types>, me: u64) {
    let leads = seen.current_leader == Some(me);
    metrics::gauge!("quorate_term").set(seen.current_term as f64);
    metrics::gauge!("quorate_is_leader").set(if leads { 1.0 } else { 0.0 });
    let committed = seen.local_committed.index().unwrap_or_default();
    metrics::gauge!("quorate_commit_index").set(committed as f64);
}

/// Least time between two snapshots that are taken for the size of the log.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

/// Has a snapshot taken whenever the log has grown by enough bytes.
pub(super) async fn snapshot_on_growth(consensus: Arc<ConsensusHandle>, growth: Arc<LogGrowth>) {
    loop {
        growth.due.notified().await;
        if consensus.raft.trigger().snapshot().await.is_err() {
            return;
        }
        // Until the snapshot has begun, each entry that is applied notifies again.
        sleep(SNAPSHOT_PAUSE).await;
    }
}
