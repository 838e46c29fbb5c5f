//! What the thread of a connection is told to do.

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

/// The answer to an order; dropped when the thread ends without one.
pub type CommandReply<T> = oneshot::Sender<T>;

/// A message with its number, or why there are no more.
pub type MqArrival = Result<(u64, IncomingMessage), ConnectorError>;

/// How many orders may wait. Senders hold permits for theirs, and of the others there are a
/// few at a time, so it never fills.
pub const WAITING: usize = 256;

/// An order.
pub enum MqCommand {
    /// Open a queue for input, alone.
    Open {
        queue: String,
        jms: bool,
        messages: mpsc::Sender<MqArrival>,
        answer: CommandReply<Result<(), ConnectorError>>,
    },
    /// Somebody waits for a message.
    Next,
    /// Do this with the message of that number.
    Settle {
        token: u64,
        how: MqSettlement,
        answer: CommandReply<Result<(), ConnectorError>>,
    },
    /// Get nothing more.
    Cancel { answer: CommandReply<()> },
    /// Back out what is not settled, and close the queue.
    Close { answer: CommandReply<()> },
    /// How many programs have this queue open for input.
    CountReaders {
        queue: String,
        answer: CommandReply<Option<u64>>,
    },
    /// How many messages are on it.
    QueryDepth {
        queue: String,
        answer: CommandReply<Option<u64>>,
    },
    /// Open a queue for output.
    OpenTarget {
        queue: String,
        answer: CommandReply<Result<(), ConnectorError>>,
    },
    /// Disconnect.
    Disconnect,
    /// Put a message.
    Put {
        put: Box<MqPutRequest>,
        answer: CommandReply<MqPutResult>,
    },
}

/// What becomes of a message that was got.
pub enum MqSettlement {
    /// It was handled.
    Commit,
    /// It was not, and comes again, after this time.
    BackOut(Duration),
    /// A copy goes to this queue, in the same unit of work.
    DeadLetter {
        queue: String,
        epitaph: DeadLetterInfo,
    },
    /// It goes to the queue that its own queue names for such messages.
    Reject(DeadLetterInfo),
}

/// A message to be put.
pub struct MqPutRequest {
    pub ready: PreparedPut,
    pub begun: Arc<PutClaim>,
}

/// How a put ended: with the message's id, or not.
pub type MqPutResult = Result<[u8; 24], MqFailure>;

/// Whether a put was begun, or given up before: one of them, and not both.
#[derive(Default)]
pub struct PutClaim(AtomicU8);

impl PutClaim {
    const WAITS: u8 = 0;
    const BEGUN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn claim(&self, what: u8) -> bool {
        self.0
            .compare_exchange(Self::WAITS, what, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// The thread begins it; false: it must not.
    pub fn begin(&self) -> bool {
        self.claim(Self::BEGUN)
    }

    /// The sender gives it up; false: it has been begun.
    pub fn give_up(&self) -> bool {
        self.claim(Self::GIVEN_UP)
    }
}
