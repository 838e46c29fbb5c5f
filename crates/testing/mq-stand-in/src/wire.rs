//! What library and queue manager say to each other: two lengths, a JSON document, and bytes.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::order::{Attributes, Dynamic, Fault, Order};

/// The longest frame that is read.
const LONGEST: u32 = 128 << 20;

/// What a verb failed with: MQRC_*.
pub(crate) type Reason = i32;

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
        /// MQCNO_*.
        options: i32,
        /// The version of the connect options; 0 for MQCONN, which has none.
        version: i32,
    },
    /// MQOPEN.
    Open {
        /// What to open.
        object: Object,
        /// MQOO_*.
        options: i32,
    },
    /// MQCLOSE.
    Close {
        /// The object.
        handle: i32,
        /// MQCO_*.
        options: i32,
    },
    /// MQGET. The bytes are the caller's descriptor.
    Get {
        /// The object.
        handle: i32,
        /// MQGMO_*.
        options: i32,
        /// MQMO_*.
        matching: i32,
        /// How long to wait; -1 for ever.
        wait_ms: i32,
        /// How many bytes there is room for.
        room: i32,
    },
    /// MQPUT to an object, or MQPUT1 to a queue.
    Put {
        /// The object.
        handle: i32,
        /// For MQPUT1.
        object: Option<Object>,
        /// MQPMO_*.
        options: i32,
        /// The object whose message's context is passed on.
        context: i32,
    },
    /// MQINQ.
    Inquire {
        /// The object.
        handle: i32,
        /// MQIA_* and MQCA_*.
        selectors: Vec<i32>,
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

/// What an object descriptor names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Object {
    /// MQOT_*.
    pub kind: i32,
    /// Its name.
    pub name: String,
    /// The queue manager that has it; empty for the one that is connected.
    pub manager: String,
    /// The name, or what it begins with, of a queue that is made of a model.
    pub dynamic: String,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attribute {
    /// MQIA_*.
    Number(i32),
    /// MQCA_*, and how many characters it has.
    Text(String, usize),
}

/// The answer. The bytes of a get are descriptor and message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// MQCC_*.
    pub completion: i32,
    /// MQRC_*.
    pub reason: i32,
    /// A handle, a number that was asked for, or a length.
    pub number: i64,
    /// The names of the queue and of its queue manager that a name stood for.
    pub resolved: Option<(String, String)>,
    /// The attributes that were asked for, in the order of their selectors.
    pub attributes: Vec<Attribute>,
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
