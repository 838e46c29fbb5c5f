//! The storage on real files.

mod backlog;
mod damage;
mod files;
mod folder;
mod group_commit;
mod install;
mod kill;
mod reading;
mod restart;
mod snapshots;
mod suite;
mod tail;

use std::{
    io::{self, Read, Write},
    ops::RangeBounds,
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use openraft::{
    EntryPayload,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use quorate_types::Member;

use super::{
    FolderMarker, LogStore, OpenError, OpenedStorage,
    raft_types::{GroupMembership, LeaderId, LogEntry, LogEntryId, ProposedCommand, StoredVote},
};
use crate::{CommittedCommand, MachineSnapshot, StateMachine};

/// No test waits longer than this for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// Remembers every command, by index.
#[derive(Clone, Default)]
struct Ledger {
    lines: Vec<(u64, Vec<u8>)>,
    published: u64,
    watch: Option<std::sync::Arc<parking_lot::Mutex<LedgerSeen>>>,
}

/// View of a ledger for a test.
#[derive(Debug, Default)]
struct LedgerSeen {
    lines: Vec<(u64, Vec<u8>)>,
    published: u64,
}

impl Ledger {
    fn watched() -> (Ledger, std::sync::Arc<parking_lot::Mutex<LedgerSeen>>) {
        let seen = std::sync::Arc::<parking_lot::Mutex<LedgerSeen>>::default();
        let ledger = Ledger {
            watch: Some(seen.clone()),
            ..Ledger::default()
        };
        (ledger, seen)
    }
}

impl StateMachine for Ledger {
    fn apply(&mut self, command: CommittedCommand<'_>) -> io::Result<Vec<u8>> {
        assert_ne!(command.bytes, b"panic", "told to");
        if command.bytes == b"newer" {
            return Err(io::Error::other("a newer version wrote it"));
        }
        self.lines.push((command.index, command.bytes.to_vec()));
        Ok(command.index.to_string().into_bytes())
    }

    fn publish(&mut self, applied: u64) {
        self.published = applied;
        if let Some(seen) = &self.watch {
            *seen.lock() = LedgerSeen {
                lines: self.lines.clone(),
                published: applied,
            };
        }
    }

    fn freeze(&self) -> Box<dyn MachineSnapshot> {
        Box::new(FrozenLedger(self.lines.clone()))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        let mut text = Vec::new();
        snapshot.read_to_end(&mut text)?;
        self.lines = serde_json::from_slice(&text)?;
        Ok(())
    }
}

struct FrozenLedger(Vec<(u64, Vec<u8>)>);

impl MachineSnapshot for FrozenLedger {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        Ok(serde_json::to_writer(out, &self.0)?)
    }
}

fn marker() -> FolderMarker {
    FolderMarker {
        cluster: "c0ffee".to_owned(),
        member: 1,
    }
}

fn open(dir: &Path) -> Result<OpenedStorage, OpenError> {
    super::open(dir, Duration::ZERO, Box::new(Ledger::default()))
}

/// Opens a new folder for member 1.
fn open_new(dir: &Path) -> OpenedStorage {
    let mut opened = open(dir).unwrap();
    opened.claim_folder(marker()).unwrap();
    opened
}

/// Closes what was opened and waits until its lock is free.
async fn close(opened: OpenedStorage) {
    let OpenedStorage {
        log,
        machine,
        snapshots,
        released,
        ..
    } = opened;
    drop((log, machine, snapshots));
    tokio::time::timeout(DEADLINE, released.wait())
        .await
        .expect("the folder is released");
}

fn log_id(term: u64, index: u64) -> LogEntryId {
    LogEntryId::new(LeaderId { term, node_id: 1 }, index)
}

fn command(term: u64, index: u64, bytes: impl Into<Bytes>) -> LogEntry {
    LogEntry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(ProposedCommand(bytes.into())),
    }
}

fn commands(term: u64, indexes: impl Iterator<Item = u64>) -> Vec<LogEntry> {
    indexes
        .map(|index| command(term, index, format!("command {index}")))
        .collect()
}

fn membership_entry(term: u64, index: u64, ids: &[u64]) -> LogEntry {
    let member = |id: &u64| Member {
        name: format!("member-{id}"),
        ..Member::default()
    };
    let members: std::collections::BTreeMap<u64, Member> =
        ids.iter().map(|id| (*id, member(id))).collect();
    let voters = vec![ids.iter().copied().collect()];
    LogEntry {
        log_id: log_id(term, index),
        payload: EntryPayload::Membership(GroupMembership::new(voters, members).unwrap()),
    }
}

/// Appends and waits until it is flushed.
async fn append(log: &mut LogStore, entries: Vec<LogEntry>) {
    tokio::time::timeout(DEADLINE, log.blocking_append(entries))
        .await
        .expect("flushed in time")
        .unwrap();
}

async fn save_vote(log: &mut LogStore, term: u64) {
    log.save_vote(&StoredVote::new_committed(term, 1))
        .await
        .unwrap();
}

fn entries(log: &LogStore, range: impl RangeBounds<u64>) -> Vec<LogEntry> {
    log.reader().read(range, usize::MAX).unwrap()
}
