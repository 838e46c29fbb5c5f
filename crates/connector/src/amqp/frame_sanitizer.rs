//! Frame sanitizer: rewrites frames of the broker that lapin could not read.
//!
//! AMQP's short strings are UTF-8 by its standard, and brokers don't check: any producer can send
//! other bytes as a correlation id, a routing key or the name of a header, or a value of a type
//! that nobody knows. lapin takes such a frame for the end of the connection, and has no way to
//! settle the one message that it is about; so one message would stop a queue. The frames pass here
//! first, and one that lapin could not read is written anew:
//!
//! - of a message whose properties can't be read, the properties become one header, with all their
//!   bytes under the name [`mark`], which no producer can know;
//! - in a method (`basic.deliver` with its routing key, a close with its reason) the bytes that are
//!   wrong become question marks, and a message that it announces is marked as well.
//!
//! Bodies, most of the bytes, pass as they are; only the frames of headers and of some methods are
//! held until they are whole, and none beyond [`FRAME_MAX`].

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::{Buf, BytesMut};
use lapin::{protocol, types::parsing::ParserResult};
use quorate_clock::rng;
use rand::Rng;

use super::{field_extent::are_readable, frame_size::FRAME_MAX};

/// Length of a frame's head: type, channel and size.
const HEAD: usize = 7;
/// Byte after each frame.
const END: u8 = 0xce;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Bytes before the properties in a content header: class, weight and the size of the body.
const BEFORE_PROPERTIES: usize = 12;
/// Property flags of headers and nothing else.
const HEADERS_ONLY: [u8; 2] = (1_u16 << 13).to_be_bytes();
/// Upper bound of a frame that is written anew: less than any broker's bound.
const LEAST_BOUND: usize = 4000;

/// Returns the name of the header that has the properties of a message that could not be read.
pub(super) fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!("quorate-unreadable-{:016x}", rng().random::<u64>()))
}

/// Returns the name of the header that has the routing key, if that could not be read.
pub(super) fn key_mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!("{}-key", mark()))
}

/// State of reading.
enum SanitizerState {
    /// In the head of a frame.
    Head,
    /// In a frame that passes as it is, with so many bytes left.
    Pass(usize),
    /// In a frame of this length that is inspected.
    Whole(usize),
    /// Not AMQP: all bytes are left to lapin to refuse.
    Foreign,
}

/// Sanitizer of one connection's frames.
pub(super) struct FrameSanitizer {
    reading: SanitizerState,
    /// Frame that is not whole yet.
    held: Vec<u8>,
    /// Bytes for lapin to read.
    out: BytesMut,
    /// Routing key, by channel, of a message whose header comes next.
    keys: BTreeMap<u16, Vec<u8>>,
}

impl Default for FrameSanitizer {
    fn default() -> Self {
        FrameSanitizer {
            reading: SanitizerState::Head,
            held: Vec::new(),
            out: BytesMut::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl FrameSanitizer {
    /// Moves ready bytes into `buffer`; returns how many.
    pub(super) fn pop(&mut self, buffer: &mut [u8]) -> usize {
        let ready = self.out.len().min(buffer.len());
        self.out.copy_to_slice(&mut buffer[..ready]);
        ready
    }

    /// Returns true if the next bytes pass as they are, all of them.
    pub(super) fn passes(&mut self, bytes: usize) -> bool {
        match &mut self.reading {
            SanitizerState::Foreign => true,
            SanitizerState::Pass(left) if *left > bytes => {
                *left -= bytes;
                true
            }
            _ => false,
        }
    }

    /// Takes in bytes from the broker.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.reading {
                SanitizerState::Foreign => {
                    self.out.extend_from_slice(bytes);
                    &[]
                }
                SanitizerState::Pass(left) => {
                    let (now, rest) = bytes.split_at(left.min(bytes.len()));
                    self.out.extend_from_slice(now);
                    self.reading = match left - now.len() {
                        0 => SanitizerState::Head,
                        left => SanitizerState::Pass(left),
                    };
                    rest
                }
                SanitizerState::Head => {
                    let rest = self.hold(bytes, HEAD);
                    if self.held.len() == HEAD {
                        self.begin();
                    }
                    rest
                }
                SanitizerState::Whole(length) => {
                    let rest = self.hold(bytes, length);
                    if self.held.len() == length {
                        self.look();
                        self.reading = SanitizerState::Head;
                    }
                    rest
                }
            };
        }
    }

    fn hold<'a>(&mut self, bytes: &'a [u8], until: usize) -> &'a [u8] {
        let (now, rest) = bytes.split_at((until - self.held.len()).min(bytes.len()));
        self.held.extend_from_slice(now);
        rest
    }

    fn pass_held(&mut self) {
        self.out.extend_from_slice(&self.held);
        self.held.clear();
    }

    /// Handles the head of a frame.
    fn begin(&mut self) {
        let size = u32::from_be_bytes([self.held[3], self.held[4], self.held[5], self.held[6]]);
        let rest = size as usize + 1;
        self.reading = match self.held[0] {
            METHOD | HEADER if size <= FRAME_MAX => SanitizerState::Whole(HEAD + rest),
            METHOD | HEADER | BODY | HEARTBEAT => SanitizerState::Pass(rest),
            _ => SanitizerState::Foreign,
        };
        if !matches!(self.reading, SanitizerState::Whole(_)) {
            self.pass_held();
        }
    }

    /// Inspects a whole frame.
    fn look(&mut self) {
        let channel = u16::from_be_bytes([self.held[1], self.held[2]]);
        let (kind, last) = (self.held[0], self.held.len() - 1);
        let payload = &mut self.held[HEAD..last];
        if kind == METHOD {
            // Nothing of a message whose header never comes is left for the next one.
            match method(payload) {
                Some(key) => self.keys.insert(channel, key),
                None => self.keys.remove(&channel),
            };
            return self.pass_held();
        }
        let key = self.keys.remove(&channel);
        let Some(properties) = payload.get(BEFORE_PROPERTIES..) else {
            return self.pass_held();
        };
        if key.is_none() && are_readable(properties) {
            return self.pass_held();
        }
        let anew = marked(payload, key.as_deref());
        self.out.extend_from_slice(&self.held[..3]);
        self.out
            .extend_from_slice(&u32::try_from(anew.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.out.extend_from_slice(&anew);
        self.out.extend_from_slice(&[END]);
        self.held.clear();
    }
}

fn is_read<T>(result: ParserResult<&[u8], T>) -> bool {
    matches!(result, Ok((rest, _)) if rest.is_empty())
}

/// Returns the content header of a message with nothing but our marks.
fn marked(payload: &[u8], key: Option<&[u8]>) -> Vec<u8> {
    let (before, properties) = payload.split_at(BEFORE_PROPERTIES);
    let entry = |name: &str, value: &[u8]| {
        let name_length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        [
            &[name_length],
            name.as_bytes(),
            b"x",
            &length.to_be_bytes(),
            value,
        ]
        .concat()
    };
    let key = key.map(|key| entry(key_mark(), key)).unwrap_or_default();
    let overhead = BEFORE_PROPERTIES + 2 + 4 + key.len() + entry(mark(), b"").len();
    let room = payload.len().max(LEAST_BOUND).saturating_sub(overhead);
    let table = [
        key,
        entry(mark(), &properties[..properties.len().min(room)]),
    ]
    .concat();
    let length = u32::try_from(table.len()).unwrap_or(u32::MAX);
    [before, &HEADERS_ONLY, &length.to_be_bytes(), &table].concat()
}

/// Mends a method in its place. Returns the routing key of the message that it announces, if that,
/// or the exchange, had to be mended.
fn method(payload: &mut [u8]) -> Option<Vec<u8>> {
    let id = payload.get(..4)?;
    let numbers = [id[0], id[1], id[2], id[3]];
    let (class, method) = (
        u16::from_be_bytes([numbers[0], numbers[1]]),
        u16::from_be_bytes([numbers[2], numbers[3]]),
    );
    // How many bytes stand before each short string.
    let (gaps, announces): (&[usize], bool) = match (class, method) {
        // Consumer tag, exchange, routing key.
        (60, 60) => (&[4, 9, 0], true),
        // Reason, exchange, routing key.
        (60, 50) => (&[6, 0, 0], true),
        // Exchange, routing key.
        (60, 71) => (&[13, 0], true),
        // The reason of a close, which may be cut in the middle of a character.
        (20, 40) | (10, 50) => (&[6], false),
        _ => return None,
    };
    if is_read(protocol::parse_class(&*payload)) {
        return None;
    }
    let mut at = 0;
    let mut last = Vec::new();
    for gap in gaps {
        at += gap;
        let length = usize::from(*payload.get(at)?);
        let text = payload.get_mut(at + 1..at + 1 + length)?;
        last = text.to_vec();
        question_marks(text);
        at += 1 + length;
    }
    announces.then_some(last)
}

fn question_marks(text: &mut [u8]) {
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&text[from..]) {
        let at = from + error.valid_up_to();
        let end = error.error_len().map_or(text.len(), |length| at + length);
        text[at..end].fill(b'?');
        from = end;
    }
}

#[cfg(test)]
mod tests;
