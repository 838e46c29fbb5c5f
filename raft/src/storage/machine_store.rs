//! Machine store: the machine as openraft drives it, with apply, snapshot and install.
//!
//! The state lives in memory. On disk there is only the newest snapshot and the log behind
//! it; at a start the one is restored and the other applied again up to `committed`.
//!
//! A machine that panics, or that can't apply or restore what another member wrote, has no
//! state that could be trusted any more: every call after that fails, which stops the member.

use std::{
    fmt,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use parking_lot::Mutex;

use super::{
    raft_types::{
        FileSnapshotMeta, LogEntry, LogEntryId, MachineAnswer, ProposedCommand, StoredMembership,
        Types,
    },
    snapshot_file::{FileSnapshot, SnapshotFile},
    snapshot_store::{SnapshotStore, blocking},
};
use crate::{CommittedCommand, MachineSnapshot, StateMachine};

/// Machine, and how far it has applied.
pub(crate) struct MachineStore {
    state: Arc<Mutex<MachineStoreState>>,
    snapshots: Arc<SnapshotStore>,
}

struct MachineStoreState {
    machine: Box<dyn StateMachine>,
    applied: Option<LogEntryId>,
    membership: StoredMembership,
    failed: Option<String>,
}

impl MachineStoreState {
    /// Runs `f` on the machine unless the machine has failed before; it has failed from now on
    /// if `f` fails.
    fn run<T>(
        &mut self,
        what: fmt::Arguments<'_>,
        f: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(format!(
                "the machine has failed before: {failed}"
            )));
        }
        let result = catch_unwind(AssertUnwindSafe(|| f(self)));
        let error = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(e)) => format!("{what} failed: {e}"),
            Err(panic) => format!("the machine panicked while {what}: {}", panic_text(&*panic)),
        };
        tracing::error!("{error}; this member can't go on");
        self.failed = Some(error.clone());
        Err(io::Error::other(error))
    }

    fn restore(&mut self, meta: &FileSnapshotMeta, file: &SnapshotFile) -> io::Result<()> {
        let path = file.path().display();
        self.run(format_args!("restoring the snapshot {path}"), |state| {
            state.machine.restore(&mut file.reader())?;
            state.applied = meta.last_log_id;
            state.membership = meta.last_membership.clone();
            Ok(())
        })
    }

    fn publish(&mut self) -> io::Result<()> {
        let Some(applied) = self.applied else {
            return Ok(());
        };
        self.run(format_args!("publishing"), |state| {
            state.machine.publish(applied.index);
            Ok(())
        })
    }

    fn apply(&mut self, entry: LogEntry) -> io::Result<MachineAnswer> {
        let id = entry.log_id;
        self.run(format_args!("applying entry {id}"), |state| {
            let answer = match entry.payload {
                EntryPayload::Blank => MachineAnswer::default(),
                EntryPayload::Normal(ProposedCommand(bytes)) => MachineAnswer(
                    state
                        .machine
                        .apply(CommittedCommand {
                            index: id.index,
                            term: id.leader_id.term,
                            leader: id.leader_id.node_id,
                            bytes: &bytes,
                        })?
                        .into(),
                ),
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembership::new(Some(id), membership);
                    MachineAnswer::default()
                }
            };
            state.applied = Some(id);
            Ok(answer)
        })
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it said nothing")
}

impl MachineStore {
    /// Restores the machine from the current snapshot, if there is one. Blocks.
    pub(super) fn open(
        machine: Box<dyn StateMachine>,
        snapshots: Arc<SnapshotStore>,
    ) -> io::Result<MachineStore> {
        let mut state = MachineStoreState {
            machine,
            applied: None,
            membership: StoredMembership::default(),
            failed: None,
        };
        if let Some(FileSnapshot { meta, snapshot }) = snapshots.current() {
            state.restore(&meta, &snapshot)?;
            state.publish()?;
        }
        Ok(MachineStore {
            state: Arc::new(Mutex::new(state)),
            snapshots,
        })
    }
}

impl RaftStateMachine<Types> for MachineStore {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = MachineSnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogEntryId>, StoredMembership)> {
        let state = self.state.lock();
        Ok((state.applied, state.membership.clone()))
    }

    /// Applies the entries, shows them to readers, and only then answers the proposers: a
    /// proposer that has its answer reads its own write.
    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = self.state.lock().apply(entry)?;
            answers.extend(responder.map(|responder| (responder, answer)));
        }
        self.state.lock().publish()?;
        for (responder, answer) in answers {
            responder.send(answer);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> MachineSnapshotBuilder {
        let mut state = self.state.lock();
        let frozen = state.run(format_args!("freezing"), |state| Ok(state.machine.freeze()));
        MachineSnapshotBuilder {
            frozen: Mutex::new(Some(frozen)),
            meta: FileSnapshotMeta {
                last_log_id: state.applied,
                last_membership: state.membership.clone(),
            },
            snapshots: self.snapshots.clone(),
        }
    }

    /// Checks the file, restores the machine from it, and makes it the current snapshot.
    /// In this order a snapshot that can't be restored never takes the place of one that
    /// can; and a kill before the end leaves the old snapshot with its log, which is purged
    /// only once this has returned.
    async fn install_snapshot(
        &mut self,
        meta: &FileSnapshotMeta,
        file: SnapshotFile,
    ) -> io::Result<()> {
        let state = self.state.clone();
        let snapshots = self.snapshots.clone();
        let meta = meta.clone();
        blocking(move || {
            super::crash_points::point("install received");
            let file = snapshots.adopt(&meta, file)?;
            file.verify().map_err(|e| {
                let what = format!("the snapshot {}: {e}", file.path().display());
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
            let mut state = state.lock();
            state.restore(&meta, &file)?;
            super::crash_points::point("install restored");
            snapshots.commit(meta, file)?;
            state.publish()
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<FileSnapshot>> {
        Ok(self.snapshots.current())
    }
}

/// Frozen state on its way to a snapshot, while commands go on being applied.
pub(crate) struct MachineSnapshotBuilder {
    frozen: Mutex<Option<io::Result<Box<dyn MachineSnapshot>>>>,
    meta: FileSnapshotMeta,
    snapshots: Arc<SnapshotStore>,
}

impl RaftSnapshotBuilder<Types> for MachineSnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<FileSnapshot> {
        let frozen = self.frozen.lock().take();
        let frozen = frozen.ok_or_else(|| io::Error::other("this snapshot was built before"))??;
        let meta = self.meta.clone();
        let snapshots = self.snapshots.clone();
        blocking(move || {
            let mut writer = snapshots.writer(&meta)?;
            frozen.write_to(&mut writer)?;
            writer.flush()?;
            let file = writer.seal()?;
            snapshots.commit(meta, file)
        })
        .await
    }
}
