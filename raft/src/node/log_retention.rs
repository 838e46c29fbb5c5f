//! Retention of the log behind a snapshot, which openraft leaves to us.
//!
//! `keep` entries stay, for members that lag a little. A member that lags more gets the newest
//! snapshot, and the entries that were written while that was on its way must still be in the
//! log when the member has it: otherwise it needs the next one, and so on for as long as there
//! are writes. So a member that is sent a snapshot has a *hold* on the log behind it, from the
//! beginning of the transfer until it has caught up.
//!
//! A hold is bounded. While a snapshot of `s` bytes is on its way over a link, the log grows by
//! less than `s` bytes, or the link could not carry the log either; another `s` is for storing
//! and restoring it at the other end; and the snapshot was older than the beginning of its
//! transfer by at most the bytes after which the next one is taken. A member for which the log
//! has grown by more than all that lags for ever, or has died: its hold is void. A member that
//! is away holds nothing.

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

use super::options::SnapshotPolicy;
use crate::{
    consensus::ConsensusHandle,
    storage::{SnapshotAccess, raft_types::Types},
};

/// Bytes that an entry takes besides its command.
const AROUND: u64 = 64;
/// Bytes between two marks.
const MARK_BYTES: u64 = 256 << 10;
/// Marks at most: 16 GiB of log.
const MARKS: usize = 64 << 10;

/// Least number of entries that are purged at a time.
const BATCH: u64 = 256;
/// Pause between two looks at the snapshot.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of log behind each entry, and the members that still need some of them.
#[derive(Debug, Default)]
pub(crate) struct LogRetention(Mutex<RetentionState>);

#[derive(Debug, Default)]
struct RetentionState {
    total: u64,
    /// Indexes of entries, each with the total when it was applied.
    marks: VecDeque<(u64, u64)>,
    /// The last entry in the snapshot that a member was sent.
    holds: BTreeMap<MemberId, u64>,
}

/// Hold of a snapshot that is on its way; a transfer that fails takes its hold with it.
pub(crate) struct SnapshotHold<'a> {
    retention: &'a LogRetention,
    member: MemberId,
    arrived: bool,
}

impl SnapshotHold<'_> {
    /// Notes that the snapshot is installed: the hold lasts until the member has caught up.
    pub(crate) fn arrived(mut self) {
        self.arrived = true;
    }
}

impl Drop for SnapshotHold<'_> {
    fn drop(&mut self) {
        if !self.arrived {
            self.retention.0.lock().holds.remove(&self.member);
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

    /// Holds the log for a member that is being sent a snapshot that ends with the entry `last`.
    pub(crate) fn hold(&self, member: MemberId, last: u64) -> SnapshotHold<'_> {
        self.0.lock().holds.insert(member, last);
        SnapshotHold {
            retention: self,
            member,
            arrived: false,
        }
    }

    /// Returns the last entry up to `upto` that nobody holds. `reached` is what each member has
    /// of the log; void are holds of members that have all up to `upto`, or are none any more,
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
    /// Returns the last entry behind which at least so many bytes were applied; `None` if there
    /// were not as many.
    fn before(&self, bytes: u64) -> Option<u64> {
        let total = self.total.checked_sub(bytes)?;
        let behind = self.marks.partition_point(|mark| mark.1 <= total);
        self.marks.get(behind.checked_sub(1)?).map(|mark| mark.0)
    }
}

/// Has the log purged behind snapshots, until openraft stops.
pub(super) async fn purge_behind_snapshots(
    consensus: Arc<ConsensusHandle>,
    snapshots: Arc<SnapshotAccess>,
    policy: SnapshotPolicy,
    retention: Arc<LogRetention>,
) {
    let mut metrics = consensus.raft.metrics();
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
            let newest = snapshots.get().and_then(|it| it.current());
            let length = newest.map_or(0, |it| it.snapshot.length());
            let most = (2 * length).saturating_add(policy.bytes);
            let upto = retention.purgeable_up_to(upto, &reached(&seen), most);
            if upto >= purged.map_or(0, |it| it + 1) + BATCH {
                if consensus.raft.trigger().purge_log(upto).await.is_err() {
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

/// Returns what each member has of the log; of none where this member doesn't lead.
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
        let retention = LogRetention::default();
        let before = |bytes| retention.0.lock().before(bytes);
        assert_eq!(before(0), None);
        for index in 1..=100 {
            retention.note(index, MARK_BYTES - AROUND);
        }
        assert_eq!(before(0), Some(100));
        assert_eq!(before(10 * MARK_BYTES), Some(90));
        assert_eq!(before(10 * MARK_BYTES + 1), Some(89));
        assert_eq!(before(99 * MARK_BYTES), Some(1));
        assert_eq!(before(100 * MARK_BYTES), None);
        for index in 101..200_000 {
            retention.note(index, MARK_BYTES);
        }
        assert_eq!(retention.0.lock().marks.len(), MARKS);
    }

    #[test]
    fn snapshot_on_its_way_holds_the_log() {
        const MOST: u64 = 10 * MARK_BYTES;
        let retention = LogRetention::default();
        let mut reached = BTreeMap::from([(1, 100), (2, 0), (3, 0)]);
        assert_eq!(
            retention.purgeable_up_to(90, &reached, MOST),
            90,
            "who is away holds nothing"
        );

        let (second, third) = (retention.hold(2, 50), retention.hold(3, 60));
        assert_eq!(retention.purgeable_up_to(90, &reached, MOST), 50);
        drop(second);
        assert_eq!(
            retention.purgeable_up_to(90, &reached, MOST),
            60,
            "it failed"
        );
        third.arrived();
        reached.insert(3, 60);
        assert_eq!(
            retention.purgeable_up_to(95, &reached, MOST),
            60,
            "it has still to catch up"
        );
        reached.insert(3, 99);
        assert_eq!(
            retention.purgeable_up_to(99, &reached, MOST),
            99,
            "it has caught up"
        );

        let fourth = retention.hold(3, 100);
        for index in 101..=120 {
            retention.note(index, MARK_BYTES - AROUND);
        }
        assert_eq!(
            retention.purgeable_up_to(115, &reached, MOST),
            115,
            "it lags for ever"
        );
        fourth.arrived();
        retention.hold(3, 115).arrived();
        assert_eq!(
            retention.purgeable_up_to(118, &BTreeMap::new(), MOST),
            118,
            "no member any more"
        );
    }
}
