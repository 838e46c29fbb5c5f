//! What an outgoing's socket sends, and what becomes of it: from parcels to frames, and from
//! the peer's frames to the outcome.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use quorate_clock::id128;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Reply};
use serde::Deserialize;
use zmq::SocketType;

use super::{
    super::broker_link::OutgoingMessage,
    envelope::ID_MAX,
    frames::{self, BYTES_MAX, FRAMES, TOPIC},
    reply_frames::{ACK, NACK},
    socket::ZmqEndpoint,
};

/// `zmq_outgoing`, as far as sending goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ZmqOutgoingSettings {
    /// Where the peers are.
    #[serde(flatten)]
    pub endpoint: ZmqEndpoint,
    /// How they are spoken with.
    pub socket_type: OutboundSocketType,
}

/// The types of sockets that messages go out by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OutboundSocketType {
    /// To PULL.
    Push,
    /// To SUB.
    Pub,
    /// To REP, or ROUTER that gives back what stands before the body. Inside it is a DEALER
    /// that sends what a REQ socket with ZMQ_REQ_CORRELATE sends: a request id, an empty
    /// frame, the body. A REP peer gives both back, so many requests are under way at a time,
    /// a late answer is never taken for that of another request, and a peer that doesn't
    /// answer holds up nothing.
    Req,
    /// To ROUTER: acked by the peer.
    Dealer,
}

impl OutboundSocketType {
    /// libzmq's type.
    pub fn socket_type(self) -> SocketType {
        match self {
            OutboundSocketType::Push => SocketType::PUSH,
            OutboundSocketType::Pub => SocketType::PUB,
            OutboundSocketType::Req | OutboundSocketType::Dealer => SocketType::DEALER,
        }
    }

    /// Whether the peer answers.
    pub fn is_answered(self) -> bool {
        matches!(self, OutboundSocketType::Req | OutboundSocketType::Dealer)
    }
}

/// What goes out for one parcel.
#[derive(Debug, PartialEq, Eq)]
pub struct OutgoingFrames {
    /// What the sender knows it by.
    pub message_id: String,
    /// What the answer is known by; empty where there is none.
    pub key: Bytes,
    /// The frames.
    pub frames: Vec<Bytes>,
}

/// The frames of a parcel; an error says why it can't be sent.
pub fn pack(
    kind: OutboundSocketType,
    parcel: &OutgoingMessage,
    requests: &AtomicU32,
) -> Result<OutgoingFrames, String> {
    let message_id = if parcel.message_id.is_empty() {
        format!("{:032x}", id128())
    } else {
        parcel.message_id.clone()
    };
    if let Some(Header { name, .. }) = parcel.headers.first() {
        return Err(format!(
            "the header {name:?} can't be sent: ZeroMQ's messages have no headers; put it into the body"
        ));
    }
    if parcel.body.len() > BYTES_MAX {
        return Err(format!(
            "the body has {} bytes; over ZeroMQ at most {BYTES_MAX} are sent",
            parcel.body.len()
        ));
    }
    let (topic, lengths) = properties(kind, &parcel.properties)?;
    let body = match lengths {
        Some(lengths) => frames::cut(&parcel.body, lengths)?,
        None => vec![parcel.body.clone()],
    };
    let (key, head) = match kind {
        OutboundSocketType::Push => (Bytes::new(), vec![]),
        OutboundSocketType::Pub => (Bytes::new(), topic.into_iter().collect()),
        OutboundSocketType::Req => {
            let id = requests.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            let id = Bytes::copy_from_slice(&id);
            (id.clone(), vec![id, Bytes::new()])
        }
        OutboundSocketType::Dealer => {
            let id = Bytes::from(message_id.clone());
            if id.len() > ID_MAX {
                return Err(format!(
                    "the message id has {} bytes; it may have {ID_MAX}",
                    id.len()
                ));
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

/// The topic and the frames' lengths; an error names what this kind can't send.
fn properties(
    kind: OutboundSocketType,
    properties: &[Header],
) -> Result<(Option<Bytes>, Option<&str>), String> {
    let (mut topic, mut lengths) = (None, None);
    for Header { name, value } in properties {
        let text =
            std::str::from_utf8(value).map_err(|_| format!("the property {name} is no UTF-8"));
        match (name.as_str(), kind) {
            (TOPIC, OutboundSocketType::Pub) => topic = Some(frames::percent_decoded(text?)),
            (
                FRAMES,
                OutboundSocketType::Push | OutboundSocketType::Pub | OutboundSocketType::Req,
            ) => lengths = Some(text?),
            _ => {
                let known = match kind {
                    OutboundSocketType::Push | OutboundSocketType::Req => FRAMES,
                    OutboundSocketType::Pub => "frames and topic",
                    OutboundSocketType::Dealer => "no property",
                };
                return Err(format!(
                    "a {kind:?} socket can't send the property {name:?}; it knows {known}"
                ));
            }
        }
    }
    Ok((topic, lengths))
}

/// What a peer said, and of which request.
pub fn answered(
    kind: OutboundSocketType,
    mut frames: Vec<Bytes>,
) -> Option<(Bytes, FramesOutcome)> {
    if kind == OutboundSocketType::Req {
        let body = frames.split_off(2.min(frames.len()));
        let [key, delimiter] = <[Bytes; 2]>::try_from(frames).ok()?;
        let (body, _) = frames::join(&body);
        return delimiter
            .is_empty()
            .then_some((key, FramesOutcome::Answered(body)));
    }
    // A delimiter, from peers that send one.
    if frames.len() > 2 && frames[0].is_empty() {
        frames.remove(0);
    }
    let mut frames = frames.into_iter();
    let (key, word) = (frames.next()?, frames.next()?);
    let verdict = match &word[..] {
        ACK => FramesOutcome::Acked,
        NACK => {
            let reason = frames.next().unwrap_or_default();
            FramesOutcome::Refused(String::from_utf8_lossy(&reason).into_owned())
        }
        _ => return None,
    };
    Some((key, verdict))
}

/// What became of one that was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum FramesOutcome {
    /// libzmq has it, and no peer answers.
    Taken,
    /// The peer has it.
    Acked,
    /// The peer doesn't want it.
    Refused(String),
    /// The peer's answer.
    Answered(Bytes),
    /// It wasn't sent, and why.
    NotSent(String),
}

impl FramesOutcome {
    /// For whoever asked.
    pub fn into_send_outcome(self, message_id: String) -> SendOutcome {
        let confirmed = |reply| SendOutcome::Confirmed { message_id, reply };
        match self {
            FramesOutcome::Taken | FramesOutcome::Acked => confirmed(None),
            FramesOutcome::Answered(body) => confirmed(Some(Reply {
                content_type: String::new(),
                body,
            })),
            FramesOutcome::Refused(why) if why.is_empty() => {
                SendOutcome::Refused("the peer refused it and gave no reason".to_owned())
            }
            FramesOutcome::Refused(why) => {
                SendOutcome::Refused(format!("the peer refused it: {why}"))
            }
            FramesOutcome::NotSent(why) => SendOutcome::NotSent(why),
        }
    }
}
