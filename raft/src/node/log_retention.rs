//! How much of the log stays behind a snapshot, which openraft leaves to us.
//!
//! `keep` entries do, for whoever lags a little. A member that lags more gets the newest
//! snapshot, and what was written while that was on its way must still be in the log when it
//! has it: otherwise it needs the next one, and so on for as long as there are writes. So
//! whoever is sent a snapshot has a *hold* on the log behind it, from the beginning of the
//! transfer until it has caught up.
//!
//! A hold is bounded. While a snapshot of `s` bytes is on its way over a link, the log grows by
//! less than `s` bytes, or the link could not carry the log either; another `s` is for storing
//! and restoring it at the other end; and the snapshot was older than the beginning of its
//! transfer by at most the bytes after which the next one is taken. A member for which the log
//! has grown by more than all that lags for ever, or has died: its hold is void. One that is
//! away holds nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use openraft::{LogIdOptionExt, RaftMetrics, async_runtime::watch::WatchReceiver};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_types::MemberId;
use tokio::time::sleep_until;

use super::{NodeInner, SnapshotPolicy};
use crate::storage::raft_types::Types;

/// What an entry takes besides its command.
const AROUND: u64 = 64;
/// Between two marks.
const MARK_BYTES: u64 = 256 << 10;
/// Marks at most: 16 GiB of log.
const MARKS: usize = 64 << 10;

/// Entries are purged so many at a time, or more.
const BATCH: u64 = 256;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// How many bytes of log stand behind an entry, and who still needs which.
#[derive(Debug, Default)]
pub(crate) struct LogRetention(Mutex<RetentionState>);

#[derive(Debug, Default)]
struct RetentionState {
    total: u64,
    /// Entries, with the total when they were applied.
    marks: VecDeque<(u64, u64)>,
    /// The last entry in the snapshot that a member was sent.
    holds: BTreeMap<MemberId, u64>,
}

/// A snapshot on its way; a transfer that fails takes its hold with it.
pub(crate) struct SnapshotHold<'a> {
    history: &'a LogRetention,
    member: MemberId,
    arrived: bool,
}

impl SnapshotHold<'_> {
    /// It is installed: the hold lasts until the member has caught up.
    pub(crate) fn arrived(mut self) {
        self.arrived = true;
    }
}

impl Drop for SnapshotHold<'_> {
    fn drop(&mut self) {
        if !self.arrived {
            self.history.0.lock().holds.remove(&self.member);
        }
    }
}

impl LogRetention {
    /// Takes in an entry that was applied.
    pub(super) fn note(&self, index: u64, bytes: u64) {
        let mut it = self.0.lock();
        it.total += bytes + AROUND;
        let last = it.marks.back().map_or(0, |(_, total)| *total);
        if it.total - last >= MARK_BYTES {
            if it.marks.len() == MARKS {
                it.marks.pop_front();
            }
            let mark = (index, it.total);
            it.marks.push_back(mark);
        }
    }

    /// A member is being sent a snapshot that ends with the entry `last`.
    pub(crate) fn hold(&self, member: MemberId, last: u64) -> SnapshotHold<'_> {
        self.0.lock().holds.insert(member, last);
        SnapshotHold {
            history: self,
            member,
            arrived: false,
        }
    }

    /// The last entry up to `upto` that nobody holds. `reached` tells what a member has of
    /// the log; void are holds of members that have all up to `upto`, or are none any more,
    /// and those behind which more than `most` bytes were written.
    fn purgeable_up_to(&self, upto: u64, reached: &BTreeMap<MemberId, u64>, most: u64) -> u64 {
        let mut it = self.0.lock();
        let bound = it.before(most);
        it.holds.retain(|member, last| {
            let lags = reached.get(member).is_some_and(|reached| *reached < upto);
            lags && bound.is_none_or(|bound| *last >= bound)
        });
        it.holds.values().copied().fold(upto, u64::min)
    }
}

impl RetentionState {
    /// The last entry behind which at least so many bytes were applied; `None` if there were
    /// not as many.
    fn before(&self, bytes: u64) -> Option<u64> {
        let total = self.total.checked_sub(bytes)?;
        let behind = self.marks.partition_point(|mark| mark.1 <= total);
        self.marks.get(behind.checked_sub(1)?).map(|mark| mark.0)
    }
}

/// Has the log purged behind snapshots, until openraft stops.
pub(super) async fn purge_behind_snapshots(
    node: Arc<NodeInner>,
    policy: SnapshotPolicy,
    history: Arc<LogRetention>,
) {
    let mut metrics = node.raft.metrics();
    let mut purged = None;
    loop {
        let next = Instant::now() + PAUSE;
        let seen = metrics.borrow_watched().clone();
        purged = purged.max(seen.purged.index());
        let upto = seen
            .snapshot
            .index()
            .and_then(|last| last.checked_sub(policy.keep));
        if let Some(upto) = upto {
            let newest = node.snapshots().ok().and_then(|it| it.current());
            let length = newest.map_or(0, |it| it.snapshot.length());
            let most = (2 * length).saturating_add(policy.bytes);
            let upto = history.purgeable_up_to(upto, &reached(&seen), most);
            if upto >= purged.map_or(0, |it| it + 1) + BATCH {
                if node.raft.trigger().purge_log(upto).await.is_err() {
                    return;
                }
                purged = Some(upto);
            }
        }
        sleep_until(next).await;
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// What each member has of the log; of none where this member doesn't lead.
fn reached(seen: &RaftMetrics<Types>) -> BTreeMap<MemberId, u64> {
    let reached = seen.replication.iter().flatten();
    let reached = reached.map(|(id, matched)| (*id, matched.index().unwrap_or(0)));
    reached.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_entry() {
        let history = LogRetention::default();
        let before = |bytes| history.0.lock().before(bytes);
        assert_eq!(before(0), None);
        for index in 1..=100 {
            history.note(index, MARK_BYTES - AROUND);
        }
        assert_eq!(before(0), Some(100));
        assert_eq!(before(10 * MARK_BYTES), Some(90));
        assert_eq!(before(10 * MARK_BYTES + 1), Some(89));
        assert_eq!(before(99 * MARK_BYTES), Some(1));
        assert_eq!(before(100 * MARK_BYTES), None);
        for index in 101..200_000 {
            history.note(index, MARK_BYTES);
        }
        assert_eq!(history.0.lock().marks.len(), MARKS);
    }

    #[test]
    fn a_snapshot_on_its_way_holds_the_log_behind_it() {
        const MOST: u64 = 10 * MARK_BYTES;
        let history = LogRetention::default();
        let mut reached = BTreeMap::from([(1, 100), (2, 0), (3, 0)]);
        assert_eq!(
            history.purgeable_up_to(90, &reached, MOST),
            90,
            "who is away holds nothing"
        );

        let (second, third) = (history.hold(2, 50), history.hold(3, 60));
        assert_eq!(history.purgeable_up_to(90, &reached, MOST), 50);
        drop(second);
        assert_eq!(history.purgeable_up_to(90, &reached, MOST), 60, "it failed");
        third.arrived();
        reached.insert(3, 60);
        assert_eq!(
            history.purgeable_up_to(95, &reached, MOST),
            60,
            "it has still to catch up"
        );
        reached.insert(3, 99);
        assert_eq!(
            history.purgeable_up_to(99, &reached, MOST),
            99,
            "it has caught up"
        );

        let fourth = history.hold(3, 100);
        for index in 101..=120 {
            history.note(index, MARK_BYTES - AROUND);
        }
        assert_eq!(
            history.purgeable_up_to(115, &reached, MOST),
            115,
            "it lags for ever"
        );
        fourth.arrived();
        history.hold(3, 115).arrived();
        assert_eq!(
            history.purgeable_up_to(118, &BTreeMap::new(), MOST),
            118,
            "no member any more"
        );
    }
}
