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
    super::link::{Epitaph, Message, Trouble},
    parcel::Ready,
    reasons::Failure,
};

/// The answer to an order; dropped when the thread ends without one.
pub type Answer<T> = oneshot::Sender<T>;

/// A message with its number, or why there are no more.
pub type Arrival = Result<(u64, Message), Trouble>;

/// How many orders may wait. Senders hold permits for theirs, and of the others there are a
/// few at a time, so it never fills.
pub const WAITING: usize = 256;

/// An order.
pub enum Order {
    /// Open a queue for input, alone.
    Open {
        queue: String,
        jms: bool,
        messages: mpsc::Sender<Arrival>,
        answer: Answer<Result<(), Trouble>>,
    },
    /// Somebody waits for a message.
    Next,
    /// Do this with the message of that number.
    Settle {
        token: u64,
        how: Settle,
        answer: Answer<Result<(), Trouble>>,
    },
    /// Get nothing more.
    Cancel { answer: Answer<()> },
    /// Back out what is not settled, and close the queue.
    Close { answer: Answer<()> },
    /// How many programs have this queue open for input.
    Readers {
        queue: String,
        answer: Answer<Option<u64>>,
    },
    /// How many messages are on it.
    Depth {
        queue: String,
        answer: Answer<Option<u64>>,
    },
    /// Open a queue for output.
    Target {
        queue: String,
        answer: Answer<Result<(), Trouble>>,
    },
    /// Disconnect.
    End,
    /// Put a message.
    Put {
        put: Box<Put>,
        answer: Answer<PutAnswer>,
    },
}

/// What becomes of a message that was got.
pub enum Settle {
    /// It was handled.
    Commit,
    /// It was not, and comes again, after this time.
    BackOut(Duration),
    /// A copy goes to this queue, in the same unit of work.
    Bury { queue: String, epitaph: Epitaph },
    /// It goes to the queue that its own queue names for such messages.
    Reject(Epitaph),
}

/// A message to be put.
pub struct Put {
    pub ready: Ready,
    pub begun: Arc<Begun>,
}

/// How a put ended: with the message's id, or not.
pub type PutAnswer = Result<[u8; 24], Failure>;

/// Whether a put was begun, or given up before: one of them, and not both.
#[derive(Default)]
pub struct Begun(AtomicU8);

impl Begun {
    const WAITS: u8 = 0;
    const BEGUN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn become_(&self, what: u8) -> bool {
        self.0
            .compare_exchange(Self::WAITS, what, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// The thread begins it; false: it must not.
    pub fn begin(&self) -> bool {
        self.become_(Self::BEGUN)
    }

    /// The sender gives it up; false: it has been begun.
    pub fn give_up(&self) -> bool {
        self.become_(Self::GIVEN_UP)
    }
}
