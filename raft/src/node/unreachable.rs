//! Members that don't answer.
//!
//! The leader knows of each other member when a heartbeat that it answered was sent; a
//! follower knows of the leader only, when it was heard. Everybody knows by `liveness` whose
//! process has died or doesn't listen. A member that is named here may be back already, and
//! one that isn't may have fallen silent just now: it is a hint to ask another one first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{Instant as _, async_runtime::watch::WatchReceiver};
use quorate_clock::Instant;
use quorate_types::MemberId;
use tokio::time::sleep;

use super::NodeInner;

/// A member that answers is heard each heartbeat. With this many missing it is silent, but
/// never before the least time: a busy machine must not lose its neighbours over a hiccup.
const HEARTBEATS: u32 = 3;
const LEAST: Duration = Duration::from_millis(60);

/// Publishes who is silent, until it is dropped.
pub(super) async fn publish_unreachable(node: Arc<NodeInner>) {
    let mut signs = node.liveness.changes();
    loop {
        signs.mark_unchanged();
        let silent = node.unreachable_now();
        node.unreachable.send_if_modified(|known| {
            let changed = **known != silent;
            if changed {
                tracing::debug!(member = node.id, ?silent, "silent members");
                *known = Arc::new(silent);
            }
            changed
        });
        tokio::select! {
            changed = signs.changed() => if changed.is_err() { return },
            () = sleep(node.timing().lease.heartbeat) => {}
        }
    }
}

impl NodeInner {
    pub(super) fn unreachable_now(&self) -> BTreeSet<MemberId> {
        let now = Instant::now();
        let heartbeat = self.timing().lease.heartbeat;
        let limit = (heartbeat * HEARTBEATS).max(LEAST) + heartbeat;
        let gone = self.liveness.gone();
        let leadership = self.tracker.current();
        let elected = leadership.election.map(|e| e.elected_at);
        let mut silent = BTreeSet::new();
        let members = self.members.borrow().clone();
        let answered = self.answered(now);
        for id in members.iter().map(|m| m.id).filter(|id| *id != self.id) {
            let heard = match leadership.leader {
                // Until it has had the time to answer, a member is not missed.
                Some(leader) if leader == self.id => {
                    let missed = elected.filter(|at| now.saturating_duration_since(*at) > limit);
                    answered.get(&id).copied().or(missed)
                }
                Some(leader) if leader == id => leadership.heard_at,
                _ => None,
            };
            // What is far away is heard late: its answer, and the next that waited for it.
            let limit = limit + self.round_trips.to(id) * 2;
            if is_unreachable(now, heard, gone.get(&id).copied(), limit) {
                silent.insert(id);
            }
        }
        silent
    }

    /// As leader: when the latest heartbeat that each member has answered was sent.
    fn answered(&self, now: Instant) -> BTreeMap<MemberId, Instant> {
        let metrics = self.raft.metrics();
        let seen = metrics.borrow_watched();
        let all = seen.heartbeat.iter().flatten();
        let answered =
            all.filter_map(|(id, at)| Some((*id, now.checked_sub(at.as_ref()?.elapsed())?)));
        answered.collect()
    }
}

/// `heard`: when a member was last heard, if this one should hear it at all. `gone`: if its
/// process is not there by `liveness`, since when that is certain, if it is.
fn is_unreachable(
    now: Instant,
    heard: Option<Instant>,
    gone: Option<Option<Instant>>,
    limit: Duration,
) -> bool {
    match (heard, gone) {
        (None, gone) => gone.is_some(),
        // Who was heard after its death is back.
        (Some(heard), Some(Some(dead))) if heard <= dead => true,
        (Some(heard), _) => now.saturating_duration_since(heard) > limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn silent_is_who_is_overdue_or_has_died_since() {
        let now = Instant::now() + 1000 * MS;
        let ago = |ms: u32| Some(now - ms * MS);
        let silent = |heard, gone| is_unreachable(now, heard, gone, 100 * MS);
        assert!(!silent(ago(100), None));
        assert!(silent(ago(101), None));
        assert!(silent(ago(20), Some(ago(10))));
        assert!(!silent(ago(10), Some(ago(20))));
        assert!(silent(ago(200), Some(ago(300))));
        assert!(!silent(ago(10), Some(None)));
        // Who needs not be heard is believed to be there, unless it is known not to be.
        assert!(!silent(None, None));
        assert!(silent(None, Some(None)));
        assert!(silent(None, Some(ago(10))));
    }
}
