//! What an outgoing's socket sends, and what becomes of it: from parcels to frames, and from
//! the peer's frames to the outcome.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use quorate_clock::id128;
use quorate_ipc::Sent;
use quorate_proto::connector::{Header, Reply};
use serde::Deserialize;
use zmq::SocketType;

use super::{
    super::link::Parcel,
    answer::{ACK, NACK},
    envelope::ID_MAX,
    frames::{self, BYTES_MAX, FRAMES, TOPIC},
    socket::Endpoint,
};

/// `zmq_outgoing`, as far as sending goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Target {
    /// Where the peers are.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// How they are spoken with.
    pub socket_type: Kind,
}

/// The types of sockets that messages go out by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
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

impl Kind {
    /// libzmq's type.
    pub fn socket_type(self) -> SocketType {
        match self {
            Kind::Push => SocketType::PUSH,
            Kind::Pub => SocketType::PUB,
            Kind::Req | Kind::Dealer => SocketType::DEALER,
        }
    }

    /// Whether the peer answers.
    pub fn is_answered(self) -> bool {
        matches!(self, Kind::Req | Kind::Dealer)
    }
}

/// What goes out for one parcel.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What the sender knows it by.
    pub message_id: String,
    /// What the answer is known by; empty where there is none.
    pub key: Bytes,
    /// The frames.
    pub frames: Vec<Bytes>,
}

/// The frames of a parcel; an error says why it can't be sent.
pub fn pack(kind: Kind, parcel: &Parcel, requests: &AtomicU32) -> Result<Outgoing, String> {
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
        Kind::Push => (Bytes::new(), vec![]),
        Kind::Pub => (Bytes::new(), topic.into_iter().collect()),
        Kind::Req => {
            let id = requests.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            let id = Bytes::copy_from_slice(&id);
            (id.clone(), vec![id, Bytes::new()])
        }
        Kind::Dealer => {
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
    Ok(Outgoing {
        message_id,
        key,
        frames: head.into_iter().chain(body).collect(),
    })
}

/// The topic and the frames' lengths; an error names what this kind can't send.
fn properties(kind: Kind, properties: &[Header]) -> Result<(Option<Bytes>, Option<&str>), String> {
    let (mut topic, mut lengths) = (None, None);
    for Header { name, value } in properties {
        let text =
            std::str::from_utf8(value).map_err(|_| format!("the property {name} is no UTF-8"));
        match (name.as_str(), kind) {
            (TOPIC, Kind::Pub) => topic = Some(frames::untold(text?)),
            (FRAMES, Kind::Push | Kind::Pub | Kind::Req) => lengths = Some(text?),
            _ => {
                let known = match kind {
                    Kind::Push | Kind::Req => FRAMES,
                    Kind::Pub => "frames and topic",
                    Kind::Dealer => "no property",
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
pub fn answered(kind: Kind, mut frames: Vec<Bytes>) -> Option<(Bytes, Verdict)> {
    if kind == Kind::Req {
        let body = frames.split_off(2.min(frames.len()));
        let [key, delimiter] = <[Bytes; 2]>::try_from(frames).ok()?;
        let (body, _) = frames::join(&body);
        return delimiter
            .is_empty()
            .then_some((key, Verdict::Answered(body)));
    }
    // A delimiter, from peers that send one.
    if frames.len() > 2 && frames[0].is_empty() {
        frames.remove(0);
    }
    let mut frames = frames.into_iter();
    let (key, word) = (frames.next()?, frames.next()?);
    let verdict = match &word[..] {
        ACK => Verdict::Acked,
        NACK => {
            let reason = frames.next().unwrap_or_default();
            Verdict::Refused(String::from_utf8_lossy(&reason).into_owned())
        }
        _ => return None,
    };
    Some((key, verdict))
}

/// What became of one that was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
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

impl Verdict {
    /// For whoever asked.
    pub fn told(self, message_id: String) -> Sent {
        let confirmed = |reply| Sent::Confirmed { message_id, reply };
        match self {
            Verdict::Taken | Verdict::Acked => confirmed(None),
            Verdict::Answered(body) => confirmed(Some(Reply {
                content_type: String::new(),
                body,
            })),
            Verdict::Refused(why) if why.is_empty() => {
                Sent::Refused("the peer refused it and gave no reason".to_owned())
            }
            Verdict::Refused(why) => Sent::Refused(format!("the peer refused it: {why}")),
            Verdict::NotSent(why) => Sent::NotSent(why),
        }
    }
}
