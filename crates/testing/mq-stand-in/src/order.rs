//! What a test orders of the queue manager.

use serde::{Deserialize, Serialize};

/// What a test may order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Defines a queue, or changes what is said of it.
    Define {
        /// Its name.
        queue: String,
        /// Its attributes.
        attributes: Attributes,
    },
    /// Puts the message of the bytes that follow.
    Put {
        /// Where to.
        queue: String,
    },
    /// Takes the first message that nobody has in a unit of work.
    Take {
        /// Where from.
        queue: String,
    },
    /// How many messages there are, in units of work or not.
    Count {
        /// Where.
        queue: String,
    },
    /// How many have it open for input.
    Readers {
        /// Which.
        queue: String,
    },
    /// Whom it lets in from now on; `None`: everybody.
    Users(Option<(String, String)>),
    /// The next call of this kind fails like that.
    Fault(Fault),
    /// Takes no more work from those who ask it to say so, or does again.
    Quiesce(bool),
    /// Answers nothing to anybody until told otherwise.
    Hang(bool),
    /// Connections are refused with 2059, or taken again.
    Unavailable(bool),
    /// Closes all connections of libraries.
    Cut,
    /// How many connections of libraries there were.
    Connections,
    /// The options and their version of each connection that there was of a library; the
    /// bytes of the answer are JSON.
    ConnectOptions,
}

/// What goes wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The connection breaks when a message has been got, before the answer.
    Get,
    /// It breaks at a commit that was done.
    CommitDone,
    /// It breaks at a commit that was not done.
    CommitUndone,
    /// It breaks at a put that was done.
    PutDone,
    /// It breaks at a put that was not done.
    PutUndone,
}

/// What a queue that is made of a model lives for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dynamic {
    /// Until whoever made it closes it.
    Temporary,
    /// Until somebody deletes it.
    Permanent,
}

/// Attributes of a queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// MAXMSGL.
    pub max_length: usize,
    /// MAXDEPTH.
    pub max_depth: usize,
    /// GET(DISABLED).
    pub get_inhibited: bool,
    /// PUT(DISABLED).
    pub put_inhibited: bool,
    /// BOQNAME.
    pub backout_queue: String,
    /// BOTHRESH, which an application is to keep to.
    pub backout_threshold: i32,
    /// DEFPSIST(YES).
    pub persistent: bool,
    /// DEFPRTY.
    pub priority: i32,
    /// DEFSOPT(EXCL), what MQOO_INPUT_AS_Q_DEF means.
    pub exclusive: bool,
    /// SHARE; one reader at a time otherwise.
    pub shareable: bool,
    /// Nobody has the authority to browse it.
    pub not_browsable: bool,
    /// A model of queues that live so long.
    pub model: Option<Dynamic>,
}

impl Attributes {
    /// What MQOO_INPUT_AS_Q_DEF means.
    pub(crate) fn default_input(&self) -> i32 {
        if self.exclusive {
            libmqm_sys::MQOO_INPUT_EXCLUSIVE
        } else {
            libmqm_sys::MQOO_INPUT_SHARED
        }
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Attributes {
            max_length: 4 << 20,
            max_depth: 100_000,
            get_inhibited: false,
            put_inhibited: false,
            backout_queue: String::new(),
            backout_threshold: 0,
            persistent: false,
            priority: 0,
            exclusive: false,
            shareable: true,
            not_browsable: false,
            model: None,
        }
    }
}
