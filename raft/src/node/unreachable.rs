//! Unreachable members: those that are dead for sure, or silent for longer than they should be.
//!
//! The leader knows of each other member when a heartbeat that it answered was sent; a
//! follower knows of the leader only, when it was heard. Every member knows by `liveness` whose
//! process has died or doesn't listen. A member that is named here may be back already, and
//! a member that isn't may have fallen silent just now: the list is a hint to ask another
//! member first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{Instant as _, async_runtime::watch::WatchReceiver};
use quorate_clock::Instant;
use quorate_types::{MemberId, MemberList};
use tokio::{sync::watch, time::sleep};

use crate::{consensus::ConsensusHandle, liveness::LivenessTable, network::RoundTrips};

/// Heartbeats without an answer after which a member is silent, but never before the least
/// time: a busy machine must not lose its neighbours over a hiccup.
const HEARTBEATS: u32 = 3;
const LEAST: Duration = Duration::from_millis(60);

/// Finds and publishes the unreachable members.
pub(super) struct UnreachableMonitor {
    consensus: Arc<ConsensusHandle>,
    liveness: Arc<LivenessTable>,
    round_trips: Arc<RoundTrips>,
    members: watch::Receiver<MemberList>,
    unreachable: watch::Sender<Arc<BTreeSet<MemberId>>>,
}

/// Publishes the unreachable members, until it is dropped.
pub(super) async fn publish_unreachable(monitor: Arc<UnreachableMonitor>) {
    let mut signs = monitor.liveness.changes();
    loop {
        signs.mark_unchanged();
        let silent = monitor.unreachable_now();
        monitor.unreachable.send_if_modified(|known| {
            let changed = **known != silent;
            if changed {
                tracing::debug!(member = monitor.consensus.id, ?silent, "silent members");
                *known = Arc::new(silent);
            }
            changed
        });
        tokio::select! {
            changed = signs.changed() => if changed.is_err() { return },
            () = sleep(monitor.consensus.timing().lease.heartbeat) => {}
        }
    }
}

impl UnreachableMonitor {
    pub(super) fn new(
        consensus: Arc<ConsensusHandle>,
        liveness: Arc<LivenessTable>,
        round_trips: Arc<RoundTrips>,
        members: watch::Receiver<MemberList>,
    ) -> Self {
        UnreachableMonitor {
            consensus,
            liveness,
            round_trips,
            members,
            unreachable: watch::Sender::default(),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<BTreeSet<MemberId>>> {
        self.unreachable.subscribe()
    }

    pub(super) fn unreachable_now(&self) -> BTreeSet<MemberId> {
        let now = Instant::now();
        let heartbeat = self.consensus.timing().lease.heartbeat;
        let limit = (heartbeat * HEARTBEATS).max(LEAST) + heartbeat;
        let gone = self.liveness.gone();
        let leadership = self.consensus.tracker.current();
        let elected = leadership.election.map(|e| e.elected_at);
        let mut silent = BTreeSet::new();
        let members = self.members.borrow().clone();
        let answered = self.answered(now);
        for id in members
            .iter()
            .map(|m| m.id)
            .filter(|id| *id != self.consensus.id)
        {
            let heard = match leadership.leader {
                // Until it has had the time to answer, a member is not missed.
                Some(leader) if leader == self.consensus.id => {
                    let missed = elected.filter(|at| now.saturating_duration_since(*at) > limit);
                    answered.get(&id).copied().or(missed)
                }
                Some(leader) if leader == id => leadership.heard_at,
                _ => None,
            };
            // A member that is far away is heard late: its answer, and the next that waited for it.
            let limit = limit + self.round_trips.to(id) * 2;
            if is_unreachable(now, heard, gone.get(&id).copied(), limit) {
                silent.insert(id);
            }
        }
        silent
    }

    /// Returns, as leader, when the latest heartbeat that each member has answered was sent.
    fn answered(&self, now: Instant) -> BTreeMap<MemberId, Instant> {
        let metrics = self.consensus.raft.metrics();
        let seen = metrics.borrow_watched();
        let all = seen.heartbeat.iter().flatten();
        let answered =
            all.filter_map(|(id, at)| Some((*id, now.checked_sub(at.as_ref()?.elapsed())?)));
        answered.collect()
    }
}

/// Returns whether a member is unreachable. `heard`: when it was last heard, if this member
/// should hear it at all. `gone`: if its process is not there by `liveness`, since when that is
/// certain, if it is.
fn is_unreachable(
    now: Instant,
    heard: Option<Instant>,
    gone: Option<Option<Instant>>,
    limit: Duration,
) -> bool {
    match (heard, gone) {
        (None, gone) => gone.is_some(),
        // A member that was heard after its death is back.
        (Some(heard), Some(Some(dead))) if heard <= dead => true,
        (Some(heard), _) => now.saturating_duration_since(heard) > limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn overdue_or_dead_member_is_unreachable() {
        let now = Instant::now() + 1000 * MS;
        let ago = |ms: u32| Some(now - ms * MS);
        let silent = |heard, gone| is_unreachable(now, heard, gone, 100 * MS);
        assert!(!silent(ago(100), None));
        assert!(silent(ago(101), None));
        assert!(silent(ago(20), Some(ago(10))));
        assert!(!silent(ago(10), Some(ago(20))));
        assert!(silent(ago(200), Some(ago(300))));
        assert!(!silent(ago(10), Some(None)));
        // A member that needs not be heard counts as there, unless it is known not to be.
        assert!(!silent(None, None));
        assert!(silent(None, Some(None)));
        assert!(silent(None, Some(ago(10))));
    }
}
