//! What library and queue manager say to each other: two lengths, a JSON document, and bytes.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The longest frame that is read.
const LONGEST: u32 = 128 << 20;

/// What the library asks for. The bytes of a put are descriptor and message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// MQCONNX.
    Connect {
        /// The queue manager's name.
        queue_manager: String,
        /// The channel.
        channel: String,
        /// The user, if any was told.
        user: Option<String>,
        /// The password.
        password: String,
        /// The cipher spec; compared, not used: nothing is encrypted here.
        cipher: String,
        /// The application's name.
        name: String,
    },
    /// MQOPEN of a queue, or of the queue manager.
    Open {
        /// `None`: the queue manager.
        queue: Option<String>,
        /// MQOO_*.
        options: i32,
    },
    /// MQCLOSE.
    Close {
        /// The object.
        handle: i32,
    },
    /// MQGET.
    Get {
        /// The object.
        handle: i32,
        /// MQGMO_*.
        options: i32,
        /// How long to wait.
        wait_ms: i32,
        /// How many bytes there is room for.
        room: i32,
    },
    /// MQPUT to an object, or MQPUT1 to a queue.
    Put {
        /// The object.
        handle: i32,
        /// For MQPUT1.
        queue: Option<String>,
        /// MQPMO_*.
        options: i32,
    },
    /// MQINQ of one selector.
    Inquire {
        /// The object.
        handle: i32,
        /// MQIA_* or MQCA_*.
        selector: i32,
    },
    /// MQCMIT.
    Commit,
    /// MQBACK.
    BackOut,
    /// MQDISC.
    Disconnect,
    /// Not of MQI: an order of a test.
    Control(Order),
}

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
    /// How many connections of libraries there are, and how many there were.
    Connections,
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

/// Attributes of a queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
}

impl Default for Attributes {
    fn default() -> Self {
        Attributes {
            max_length: 4 << 20,
            max_depth: 100_000,
            get_inhibited: false,
            put_inhibited: false,
            backout_queue: String::new(),
        }
    }
}

/// The answer. The bytes of a get are descriptor and message.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// MQCC_*.
    pub completion: i32,
    /// MQRC_*.
    pub reason: i32,
    /// A handle, a number that was asked for, or a length.
    pub number: i64,
    /// A text that was asked for.
    pub text: Option<String>,
}

/// Writes a frame.
pub fn write(to: &mut impl Write, said: &impl Serialize, bytes: &[u8]) -> io::Result<()> {
    let said = serde_json::to_vec(said)?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
    let mut frame = Vec::with_capacity(8 + said.len() + bytes.len());
    frame.extend(length(&said)?.to_be_bytes());
    frame.extend(length(bytes)?.to_be_bytes());
    frame.extend(said);
    frame.extend(bytes);
    to.write_all(&frame)
}

/// Reads one.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Vec<u8>)> {
    let mut lengths = [0; 8];
    from.read_exact(&mut lengths)?;
    let mut part = |at: usize| {
        let mut four = [0; 4];
        four.copy_from_slice(&lengths[at..at + 4]);
        let length = u32::from_be_bytes(four);
        if length > LONGEST {
            return Err(io::Error::other("a frame is too long"));
        }
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let said = part(0)?;
    let bytes = part(4)?;
    Ok((serde_json::from_slice(&said)?, bytes))
}
