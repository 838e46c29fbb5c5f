//! Commands to the thread of a connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    super::broker_link::{ConnectorError, DeadLetterInfo, IncomingMessage},
    outgoing_message::PreparedPut,
    reason_codes::MqFailure,
};

/// Channel for the answer to a command; dropped when the thread ends without one.
pub(super) type CommandReply<T> = oneshot::Sender<T>;

/// Message with its number, or the reason why there are no more.
pub(super) type MqArrival = Result<(u64, IncomingMessage), ConnectorError>;

/// Upper bound of commands that wait. Senders hold permits for theirs, and of the others there are
/// a few at a time, so the queue never fills.
pub(super) const WAITING: usize = 256;

pub(crate) enum MqCommand {
    /// Opens a queue for exclusive input.
    Open {
        queue: String,
        jms: bool,
        messages: mpsc::Sender<MqArrival>,
        answer: CommandReply<Result<(), ConnectorError>>,
    },
    Next,
    /// Settles the message of that number.
    Settle {
        token: u64,
        how: MqSettlement,
        answer: CommandReply<Result<(), ConnectorError>>,
    },
    Cancel {
        answer: CommandReply<()>,
    },
    /// Backs out what is not settled, and closes the queue.
    Close {
        answer: CommandReply<()>,
    },
    /// Counts the programs that have this queue open for input.
    CountReaders {
        queue: String,
        answer: CommandReply<Option<u64>>,
    },
    /// Counts the messages on a queue.
    QueryDepth {
        queue: String,
        answer: CommandReply<Option<u64>>,
    },
    /// Opens a queue for output.
    OpenTarget {
        queue: String,
        answer: CommandReply<Result<(), ConnectorError>>,
    },
    Disconnect,
    Put {
        put: Box<MqPutRequest>,
        answer: CommandReply<MqPutResult>,
    },
}

/// Settlement of a message that was got.
pub(crate) enum MqSettlement {
    /// Commits: the message was handled.
    Commit,
    /// Backs out: the message comes again, after this time.
    BackOut(Duration),
    /// Puts a copy on this queue, in the same unit of work.
    DeadLetter { queue: String, info: DeadLetterInfo },
    /// Puts the message on the queue that its own queue names for such messages.
    Reject(DeadLetterInfo),
}

pub(crate) struct MqPutRequest {
    pub ready: PreparedPut,
    pub claim: Arc<PutClaim>,
}

/// Result of a put: the message's id, or the failure.
pub(super) type MqPutResult = Result<[u8; 24], MqFailure>;

/// Claim on a put: it is begun, or given up before, and never both.
#[derive(Default)]
pub(crate) struct PutClaim(AtomicU8);

impl PutClaim {
    const WAITS: u8 = 0;
    const BEGUN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn claim(&self, what: u8) -> bool {
        self.0
            .compare_exchange(Self::WAITS, what, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Claims the put for the thread; false: the thread must not put it.
    pub(crate) fn begin(&self) -> bool {
        self.claim(Self::BEGUN)
    }

    /// Gives the put up for the sender; false: it has been begun.
    pub(crate) fn give_up(&self) -> bool {
        self.claim(Self::GIVEN_UP)
    }
}
