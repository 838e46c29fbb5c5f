//! Frames of an outgoing message, and its outcome from the peer's frames.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use quorate_clock::id128;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Reply};
use quorate_resources::ZmqOutgoingSocket;
use zmq::SocketType;

use super::{
    super::broker_link::OutgoingMessage,
    envelope::ID_MAX,
    frames::{self, BYTES_MAX, FRAMES, InvalidLengths, TOPIC},
    reply_frames::{ACK, NACK},
};

/// Returns libzmq's type of an outgoing's socket.
///
/// Inside REQ it is a DEALER that sends what a REQ socket with ZMQ_REQ_CORRELATE sends: a request
/// id, an empty frame, the body. A REP peer, or a ROUTER that gives back what stands before the
/// body, gives both back, so many requests are under way at a time, a late answer is never taken
/// for that of another request, and a peer that doesn't answer holds up nothing.
pub(super) fn socket_type(kind: ZmqOutgoingSocket) -> SocketType {
    match kind {
        ZmqOutgoingSocket::Push => SocketType::PUSH,
        ZmqOutgoingSocket::Pub => SocketType::PUB,
        ZmqOutgoingSocket::Req | ZmqOutgoingSocket::Dealer => SocketType::DEALER,
    }
}

/// Returns true if the peer answers.
pub(super) fn is_answered(kind: ZmqOutgoingSocket) -> bool {
    matches!(kind, ZmqOutgoingSocket::Req | ZmqOutgoingSocket::Dealer)
}

/// Message that can't be sent over ZeroMQ.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidZmqMessage {
    #[error(
        "the header {0:?} can't be sent: ZeroMQ's messages have no headers; put it into the body"
    )]
    Header(String),
    #[error("the body has {0} bytes; over ZeroMQ at most {max} are sent", max = BYTES_MAX)]
    BodyTooLong(usize),
    #[error("the message id has {0} bytes; it may have {max}", max = ID_MAX)]
    IdTooLong(usize),
    #[error("the property {0} is no UTF-8")]
    NotUtf8(String),
    #[error("a {kind:?} socket can't send the property {name:?}; it knows {known}")]
    UnknownProperty {
        kind: ZmqOutgoingSocket,
        name: String,
        known: &'static str,
    },
    #[error(transparent)]
    Lengths(#[from] InvalidLengths),
}

/// Frames that go out for one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutgoingFrames {
    /// Sender's id of the message.
    pub message_id: String,
    /// Key of the answer; empty where there is none.
    pub key: Bytes,
    pub frames: Vec<Bytes>,
}

/// Returns the frames of a message; an error says why it can't be sent.
pub(super) fn pack(
    kind: ZmqOutgoingSocket,
    message: &OutgoingMessage,
    requests: &AtomicU32,
) -> Result<OutgoingFrames, InvalidZmqMessage> {
    let message_id = if message.message_id.is_empty() {
        format!("{:032x}", id128())
    } else {
        message.message_id.clone()
    };
    if let Some(Header { name, .. }) = message.headers.first() {
        return Err(InvalidZmqMessage::Header(name.clone()));
    }
    if message.body.len() > BYTES_MAX {
        return Err(InvalidZmqMessage::BodyTooLong(message.body.len()));
    }
    let (topic, lengths) = properties(kind, &message.properties)?;
    let body = match lengths {
        Some(lengths) => frames::cut(&message.body, lengths)?,
        None => vec![message.body.clone()],
    };
    let (key, head) = match kind {
        ZmqOutgoingSocket::Push => (Bytes::new(), vec![]),
        ZmqOutgoingSocket::Pub => (Bytes::new(), topic.into_iter().collect()),
        ZmqOutgoingSocket::Req => {
            let id = requests.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            let id = Bytes::copy_from_slice(&id);
            (id.clone(), vec![id, Bytes::new()])
        }
        ZmqOutgoingSocket::Dealer => {
            let id = Bytes::from(message_id.clone());
            if id.len() > ID_MAX {
                return Err(InvalidZmqMessage::IdTooLong(id.len()));
            }
            (id.clone(), vec![id])
        }
    };
    Ok(OutgoingFrames {
        message_id,
        key,
        frames: head.into_iter().chain(body).collect(),
    })
}

/// Returns the topic and the frames' lengths; an error names what this kind can't send.
fn properties(
    kind: ZmqOutgoingSocket,
    properties: &[Header],
) -> Result<(Option<Bytes>, Option<&str>), InvalidZmqMessage> {
    let (mut topic, mut lengths) = (None, None);
    for Header { name, value } in properties {
        let text = std::str::from_utf8(value).map_err(|_| InvalidZmqMessage::NotUtf8(name.clone()));
        match (name.as_str(), kind) {
            (TOPIC, ZmqOutgoingSocket::Pub) => topic = Some(frames::percent_decoded(text?)),
            (FRAMES, ZmqOutgoingSocket::Push | ZmqOutgoingSocket::Pub | ZmqOutgoingSocket::Req) => {
                lengths = Some(text?)
            }
            _ => {
                let known = match kind {
                    ZmqOutgoingSocket::Push | ZmqOutgoingSocket::Req => FRAMES,
                    ZmqOutgoingSocket::Pub => "frames and topic",
                    ZmqOutgoingSocket::Dealer => "no property",
                };
                return Err(InvalidZmqMessage::UnknownProperty {
                    kind,
                    name: name.clone(),
                    known,
                });
            }
        }
    }
    Ok((topic, lengths))
}

/// End of a send on the socket's thread: the reply if one came, or the outcome that is no success.
pub(super) type ZmqSendResult = Result<Option<Reply>, SendOutcome>;

/// Returns the key of the request that a peer has answered, and the answer.
pub(super) fn answered(
    kind: ZmqOutgoingSocket,
    mut frames: Vec<Bytes>,
) -> Option<(Bytes, ZmqSendResult)> {
    if kind == ZmqOutgoingSocket::Req {
        let body = frames.split_off(2.min(frames.len()));
        let [key, delimiter] = <[Bytes; 2]>::try_from(frames).ok()?;
        let (body, _) = frames::join(&body);
        let reply = Reply {
            content_type: String::new(),
            body,
        };
        return delimiter.is_empty().then_some((key, Ok(Some(reply))));
    }
    // A delimiter, from peers that send one.
    if frames.len() > 2 && frames[0].is_empty() {
        frames.remove(0);
    }
    let mut frames = frames.into_iter();
    let (key, word) = (frames.next()?, frames.next()?);
    let answer = match &word[..] {
        ACK => Ok(None),
        NACK => {
            let reason = frames.next().unwrap_or_default();
            let reason = String::from_utf8_lossy(&reason);
            Err(SendOutcome::Refused(if reason.is_empty() {
                "the peer refused it and gave no reason".to_owned()
            } else {
                format!("the peer refused it: {reason}")
            }))
        }
        _ => return None,
    };
    Some((key, answer))
}
