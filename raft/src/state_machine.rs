//! State machine: the interface of what consensus replicates.

use std::io::{self, Read, Write};

use quorate_types::MemberId;

/// Committed command, as every member sees it.
#[derive(Clone, Copy, Debug)]
pub struct CommittedCommand<'a> {
    /// The entry's log index.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// The leader that appended it.
    pub leader: MemberId,
    /// The bytes that were proposed.
    pub bytes: &'a [u8],
}

/// Deterministic state machine. The same commands give the same state and the same answers on
/// every member: no clock, no randomness, no I/O.
pub trait StateMachine: Send + 'static {
    /// Applies one command and returns the answer for its proposer. An error stops the member: it
    /// means that only another version can apply this command, which one member must not pass over
    /// while others apply it.
    fn apply(&mut self, command: CommittedCommand<'_>) -> io::Result<Vec<u8>>;

    /// Makes what has been applied visible to readers. Called once after a batch
    /// (`applied` is the index of its last entry, whatever its kind) and after a
    /// restore, always before any proposer of the batch is answered.
    fn publish(&mut self, applied: u64);

    /// Returns a frozen copy of the state, cheap to take, that is written out on another thread
    /// while commands go on being applied.
    fn freeze(&self) -> Box<dyn MachineSnapshot>;

    /// Replaces the state by a snapshot. On an error the state is as before.
    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()>;
}

/// Copy of a machine's state that no longer changes.
pub trait MachineSnapshot: Send + 'static {
    /// Writes the snapshot. The same state gives the same bytes.
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()>;
}
