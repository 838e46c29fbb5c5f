//! Storage in memory: what is on it outlives the member that used it.

use std::{collections::BTreeMap, fmt::Debug, io, ops::RangeBounds, sync::Arc};

use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, alias,
    storage::{
        EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftStateMachine,
    },
};
use parking_lot::Mutex;

openraft::declare_raft_types!(
    /// Commands and answers are text; (term, member) elects, as in the crate.
    pub Bare: D = String, R = String
);

pub type Entry = alias::EntryOf<Bare>;
pub type LogId = alias::LogIdOf<Bare>;
pub type Vote = alias::VoteOf<Bare>;
type SnapshotMeta = alias::SnapshotMetaOf<Bare>;
type Snapshot = alias::SnapshotOf<Bare, ()>;

/// The log and the vote.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    vote: Option<Vote>,
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    /// Who waits for the disk, while it is held.
    held: Option<Vec<IOFlushed<Bare>>>,
}

impl Disk {
    /// The commands in the log, by index.
    pub fn commands(&self) -> Vec<(u64, String)> {
        let kept = self.0.lock();
        let entries = kept.entries.iter();
        let commands = entries.filter_map(|(index, entry)| match &entry.payload {
            EntryPayload::Normal(command) => Some((*index, command.clone())),
            _ => None,
        });
        commands.collect()
    }

    /// The index of the first entry.
    pub fn first(&self) -> Option<u64> {
        self.0.lock().entries.keys().next().copied()
    }

    /// The index of the last entry.
    pub fn last(&self) -> Option<u64> {
        self.0.lock().entries.keys().next_back().copied()
    }

    /// Keeps back that entries are on the disk, or tells it of all.
    pub fn hold(&self, held: bool) {
        let waiting = std::mem::replace(&mut self.0.lock().held, held.then(Vec::new));
        for flushed in waiting.into_iter().flatten() {
            flushed.io_completed(Ok(()));
        }
    }

    /// Loses the entries from `index` on, as a disk that has lied.
    pub fn lose_from(&self, index: u64) {
        let mut kept = self.0.lock();
        kept.entries.split_off(&index);
        kept.committed = None;
    }
}

impl RaftLogReader<Bare> for Disk {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let kept = self.0.lock();
        Ok(kept.entries.range(range).map(|(_, e)| e.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.lock().vote)
    }
}

impl RaftLogStorage<Bare> for Disk {
    type LogReader = Disk;

    async fn get_log_state(&mut self) -> io::Result<LogState<Bare>> {
        let kept = self.0.lock();
        let last = kept.entries.values().next_back().map(|e| e.log_id);
        Ok(LogState {
            last_purged_log_id: kept.purged,
            last_log_id: last.or(kept.purged),
        })
    }

    async fn get_log_reader(&mut self) -> Disk {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.0.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Bare>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| (entry.log_id.index, entry));
        let mut kept = self.0.lock();
        kept.entries.extend(entries);
        if let Some(held) = &mut kept.held {
            held.push(flushed);
        } else {
            drop(kept);
            flushed.io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let first = last.map_or(0, |id| id.index + 1);
        self.0.lock().entries.split_off(&first);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut kept = self.0.lock();
        kept.entries = kept.entries.split_off(&(upto.index + 1));
        kept.purged = Some(upto);
        Ok(())
    }
}

/// A machine that answers each command with itself.
#[derive(Clone, Default)]
pub struct Echo(Arc<Mutex<SnapshotMeta>>);

impl RaftSnapshotBuilder<Bare> for Echo {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let meta = self.0.lock().clone();
        Ok(Snapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<Bare> for Echo {
    type SnapshotData = ();
    type SnapshotBuilder = Echo;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogId>, alias::StoredMembershipOf<Bare>)> {
        let state = self.0.lock();
        Ok((state.last_log_id, state.last_membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Bare>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = {
                let mut state = self.0.lock();
                state.last_log_id = Some(entry.log_id);
                match entry.payload {
                    EntryPayload::Normal(command) => command,
                    EntryPayload::Blank => String::new(),
                    EntryPayload::Membership(membership) => {
                        let at = Some(entry.log_id);
                        state.last_membership =
                            alias::StoredMembershipOf::<Bare>::new(at, membership);
                        String::new()
                    }
                }
            };
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Echo {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> io::Result<()> {
        *self.0.lock() = meta.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(None)
    }
}
