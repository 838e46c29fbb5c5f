//! Thread of a channel's socket: messages in, answers out.
//!
//! The thread takes a message from libzmq only when there is a slot for it, one of `prefetch`; the
//! slot is free again when the message is settled or given up. Messages without a slot wait in
//! libzmq, whose queue has a bound too, and then at the peers.

use std::{collections::HashSet, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_proto::connector::Header;
use quorate_resources::{ZmqChannel, ZmqChannelSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::{debug, warn};
use zmq::{Error, PollEvents, SocketType};

use super::{
    super::broker_link::{ConnectorError, IncomingMessage},
    endpoint::ZmqEndpoint,
    envelope::{self, MalformedMessage, ReplyRoute},
    frames::{self, BYTES_MAX, FRAMES_MAX},
    peer_warnings::PEER_WARNING_INTERVAL,
    reply_frames,
    socket::{ReceivedFrames, SocketSendResult, ZmqSocket},
    waker::ThreadWaker,
    worker::WorkerContext,
};

/// Kernel's receive buffer of sockets whose messages nobody sends again: its content is lost at a
/// takeover.
const RECEIVE_BUFFER: i32 = 64 << 10;
/// Upper bound of answers that wait for a peer that doesn't read them.
const ANSWERS_MAX: i32 = 1000;
/// Time for which connections stay after the last answer. A peer that has `ZMQ_IMMEDIATE` set
/// forgets what it has received and not read yet when its connection goes.
const LINGER_AFTER_ANSWER: Duration = Duration::from_millis(100);

/// Place for a message in flight. Dropping it lets the next message in.
struct InFlightSlot {
    permit: Option<OwnedSemaphorePermit>,
    running: Option<(RunningMessages, PeerMessageKey)>,
    waker: Arc<ThreadWaker>,
}

/// Key of a peer's message, by which a repetition is recognised.
type PeerMessageKey = (ReplyRoute, Bytes);
/// Messages of ROUTER peers in flight.
type RunningMessages = Arc<Mutex<HashSet<PeerMessageKey>>>;

impl Drop for InFlightSlot {
    fn drop(&mut self) {
        if let Some((running, key)) = self.running.take() {
            running.lock().remove(&key);
        }
        drop(self.permit.take());
        self.waker.wake();
    }
}

/// Token for settling a message.
#[derive(Clone)]
pub(crate) struct ZmqDeliveryToken {
    /// Route of the answer; empty where nobody waits for one.
    pub route: ReplyRoute,
    /// Peer's id of the message.
    pub id: Bytes,
    /// Slot, held while the message is in flight.
    _slot: Arc<InFlightSlot>,
}

pub(super) enum ZmqCommand {
    /// Sends an answer.
    Answer {
        /// All frames of the answer, the route first.
        frames: Vec<Bytes>,
        /// Channel for the result: whether libzmq has the answer.
        done: oneshot::Sender<Result<(), ConnectorError>>,
    },
    /// Takes no more messages.
    Cancel,
}

/// Message that the thread hands out, or the error that ended it.
pub(super) type ZmqArrival = Result<(ZmqDeliveryToken, IncomingMessage), ConnectorError>;

/// Opens the socket. Inside REP it is a ROUTER: a REP socket lets the next request in only after
/// the answer to the last one, so that one that is tried again, or a service that hangs, would hold
/// up all peers. The bytes on the network are the same but for the socket type in the greeting, and
/// REQ and DEALER take ROUTER there.
pub(super) fn open(source: &ZmqChannel, prefetch: u16) -> Result<ZmqSocket, ConnectorError> {
    let kind = match source.socket_type {
        ZmqChannelSocket::Pull => SocketType::PULL,
        ZmqChannelSocket::Sub => SocketType::SUB,
        ZmqChannelSocket::Rep | ZmqChannelSocket::Router => SocketType::ROUTER,
    };
    let endpoint = ZmqEndpoint::allowed(&source.address, source.method)?;
    ZmqSocket::open(kind, endpoint, |socket| options(socket, source, prefetch))
}

fn options(socket: &zmq::Socket, source: &ZmqChannel, prefetch: u16) -> Result<(), Error> {
    // 0 would be no bound.
    socket.set_rcvhwm(i32::from(prefetch.max(1)))?;
    match source.socket_type {
        ZmqChannelSocket::Pull => socket.set_rcvbuf(RECEIVE_BUFFER),
        ZmqChannelSocket::Sub => {
            socket.set_rcvbuf(RECEIVE_BUFFER)?;
            socket.set_subscribe(source.sub_key.as_deref().unwrap_or_default().as_bytes())
        }
        ZmqChannelSocket::Rep | ZmqChannelSocket::Router => {
            socket.set_sndhwm(ANSWERS_MAX)?;
            // An answer to a peer that is gone is an error, and a peer that comes back under
            // its own routing id is let in before its old connection is known to be dead.
            socket.set_router_mandatory(true)?;
            socket.set_router_handover(true)
        }
    }
}

/// State of the thread.
pub(super) struct ZmqReceiveLoop {
    kind: ZmqChannelSocket,
    socket: ZmqSocket,
    context: WorkerContext<ZmqCommand>,
    out: mpsc::Sender<ZmqArrival>,
    slots: Arc<Semaphore>,
    running: RunningMessages,
    warnings: RateLimit,
    cancelled: bool,
    answered: Option<Instant>,
}

impl ZmqReceiveLoop {
    /// Returns a loop with room for `prefetch` messages in flight; `out` must have as much.
    pub(super) fn new(
        kind: ZmqChannelSocket,
        prefetch: u16,
        socket: ZmqSocket,
        context: WorkerContext<ZmqCommand>,
        out: mpsc::Sender<ZmqArrival>,
    ) -> Self {
        ZmqReceiveLoop {
            kind,
            socket,
            context,
            out,
            slots: Arc::new(Semaphore::new(usize::from(prefetch.max(1)))),
            running: RunningMessages::default(),
            warnings: RateLimit::new(PEER_WARNING_INTERVAL),
            cancelled: false,
            answered: None,
        }
    }

    /// Runs until the end is ordered or the socket is useless.
    pub(super) fn run(mut self) {
        if let Err(error) = self.work() {
            // One place more than there are slots is kept for it.
            let _ = self.out.try_send(Err(error));
        }
    }

    fn work(&mut self) -> Result<(), ConnectorError> {
        let mut free = None;
        loop {
            while let Ok(command) = self.context.commands.try_recv() {
                match command {
                    ZmqCommand::Answer { frames, done } => {
                        let _ = done.send(self.answer(&frames));
                    }
                    // Nobody waits for an answer: the peers had better keep the rest.
                    ZmqCommand::Cancel
                        if matches!(self.kind, ZmqChannelSocket::Pull | ZmqChannelSocket::Sub) =>
                    {
                        return Ok(());
                    }
                    ZmqCommand::Cancel => self.cancelled = true,
                }
            }
            if self.context.stopped() {
                let since = self.answered.map_or(LINGER_AFTER_ANSWER, |at| at.elapsed());
                thread::sleep(LINGER_AFTER_ANSWER.saturating_sub(since));
                return Ok(());
            }
            let mut wanted = PollEvents::empty();
            if !self.cancelled {
                free = free.or_else(|| self.slots.clone().try_acquire_owned().ok());
                if free.is_some() {
                    match self.socket.receive()? {
                        Some(received) => {
                            self.received(received, &mut free);
                            continue;
                        }
                        None => wanted = PollEvents::POLLIN,
                    }
                }
            }
            self.socket.wait(&self.context.waker, wanted)?;
        }
    }

    fn answer(&mut self, frames: &[Bytes]) -> Result<(), ConnectorError> {
        self.answered = Some(Instant::now());
        match self.socket.send(frames)? {
            SocketSendResult::Taken => Ok(()),
            SocketSendResult::NoPeer => Err(ConnectorError::transient(
                "the peer was gone before its answer",
            )),
            SocketSendResult::Full => Err(ConnectorError::transient(format!(
                "the peer doesn't read its answers: {ANSWERS_MAX} wait already"
            ))),
        }
    }

    /// Takes in a message, which takes the slot, unless its frames can't be one.
    fn received(&mut self, received: ReceivedFrames, slot: &mut Option<OwnedSemaphorePermit>) {
        let ReceivedFrames { frames, whole } = received;
        let parsed = match self.kind {
            ZmqChannelSocket::Pull | ZmqChannelSocket::Sub => {
                Ok((ReplyRoute::new(), Bytes::new(), frames))
            }
            ZmqChannelSocket::Rep => {
                envelope::request(frames).map(|(route, body)| (route, Bytes::new(), body))
            }
            ZmqChannelSocket::Router => {
                envelope::identified(frames).map(|(route, id, body)| (route, id, vec![body]))
            }
        };
        let parsed = match parsed {
            Ok((route, id, _)) if !whole => Err(MalformedMessage {
                route: Some(route).filter(|route| !route.is_empty()),
                id,
                why: format!(
                    "a message has at most {} MiB and {FRAMES_MAX} frames",
                    BYTES_MAX >> 20
                ),
            }),
            parsed => parsed,
        };
        let (route, id, mut body) = match parsed {
            Ok(parsed) => parsed,
            Err(malformed) => return self.refuse(malformed),
        };
        let mut running = None;
        if self.kind == ZmqChannelSocket::Router {
            let key = (route.clone(), id.clone());
            if !self.running.lock().insert(key.clone()) {
                // The peer's patience is shorter than the service's time: the ack is yet to come.
                debug!(
                    id = frames::percent_encoded(&id),
                    "sent again while it is being handled"
                );
                return;
            }
            running = Some((self.running.clone(), key));
        }
        let mut properties = Vec::new();
        if self.kind == ZmqChannelSocket::Sub && body.len() > 1 {
            properties.push(Header {
                name: frames::TOPIC.to_owned(),
                value: frames::percent_encoded(&body.remove(0)).into(),
            });
        }
        let (body, lengths) = frames::join(&body);
        properties.extend(lengths);
        let message = IncomingMessage {
            id: frames::percent_encoded(&id),
            properties,
            body,
            ..IncomingMessage::default()
        };
        let slot = Arc::new(InFlightSlot {
            permit: slot.take(),
            running,
            waker: self.context.waker.clone(),
        });
        let token = ZmqDeliveryToken {
            route,
            id,
            _slot: slot,
        };
        // There is room for every slot. Without a receiver the session is over.
        let _ = self.out.try_send(Ok((token, message)));
    }

    fn refuse(&mut self, malformed: MalformedMessage) {
        let MalformedMessage { route, id, why } = malformed;
        if let Some(left_out) = self.warnings.due("") {
            warn!(left_out, why, "a peer's message was refused");
        }
        let Some(route) = route else { return };
        let payload = match self.kind {
            ZmqChannelSocket::Router => reply_frames::refused(&id, &why),
            ZmqChannelSocket::Rep => vec![reply_frames::error("", &why)],
            ZmqChannelSocket::Pull | ZmqChannelSocket::Sub => return,
        };
        // A peer that is gone needs no answer.
        let _ = self.answer(&reply_frames::to(&route, payload));
    }
}
