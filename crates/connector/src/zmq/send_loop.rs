//! Thread of an outgoing's socket: messages out, answers in.
//!
//! A message waits here while no peer takes it. The caller waits beside it, and the two agree by a
//! claim on the outcome: the first to make it, the thread right before it hands the message to
//! libzmq or the caller when its time is over, decides whether the message was sent. So "surely not
//! sent" is never reported of a message that leaves later.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use quorate_ipc::SendOutcome;
use quorate_resources::{ZmqOutgoing, ZmqOutgoingSocket};
use tokio::sync::oneshot;
use tracing::debug;
use zmq::PollEvents;

use super::{
    super::broker_link::ConnectorError,
    endpoint::ZmqEndpoint,
    outgoing_message::{self, ZmqSendResult, is_answered, socket_type},
    socket::{SocketSendResult, ZmqSocket},
    worker::WorkerContext,
};

/// Upper bound of messages that wait in libzmq for one peer, and are lost with this process.
const QUEUED_MAX: i32 = 100;
/// Same bound for subscribers; slower ones lose messages.
const PUBLISHED_MAX: i32 = 1000;
/// Number of abandoned answers that are awaited before they are forgotten.
const FORGET: usize = 4096;

/// Message on its way.
pub(super) struct PendingFrames {
    /// Key of the answer.
    pub key: Bytes,
    pub frames: Vec<Bytes>,
    /// Claim on the outcome; whoever sets it decides whether the message is sent.
    pub claim: Arc<AtomicBool>,
    /// Channel for the outcome.
    pub done: oneshot::Sender<ZmqSendResult>,
}

/// Opens the socket.
pub(super) fn open(target: &ZmqOutgoing) -> Result<ZmqSocket, ConnectorError> {
    let kind = target.socket_type;
    let endpoint = ZmqEndpoint::allowed(&target.address, target.method)?;
    ZmqSocket::open(socket_type(kind), endpoint, |socket| {
        // Only to peers that are there: no message that waits for one counts as sent.
        socket.set_immediate(true)?;
        socket.set_sndhwm(if kind == ZmqOutgoingSocket::Pub {
            PUBLISHED_MAX
        } else {
            QUEUED_MAX
        })?;
        socket.set_rcvhwm(QUEUED_MAX)
    })
}

/// State of the thread.
pub(super) struct ZmqSendLoop {
    kind: ZmqOutgoingSocket,
    socket: ZmqSocket,
    context: WorkerContext<PendingFrames>,
    waiting: VecDeque<PendingFrames>,
    unanswered: HashMap<Bytes, oneshot::Sender<ZmqSendResult>>,
}

impl ZmqSendLoop {
    /// Returns a loop over this socket.
    pub(super) fn new(
        kind: ZmqOutgoingSocket,
        socket: ZmqSocket,
        context: WorkerContext<PendingFrames>,
    ) -> Self {
        ZmqSendLoop {
            kind,
            socket,
            context,
            waiting: VecDeque::new(),
            unanswered: HashMap::new(),
        }
    }

    /// Runs until the end is ordered; an error means that the socket is useless.
    pub(super) fn run(mut self) -> Result<(), ConnectorError> {
        while !self.context.stopped() {
            // The callers bound how many there are.
            while let Ok(item) = self.context.commands.try_recv() {
                self.waiting.push_back(item);
            }
            self.send()?;
            let mut wanted = PollEvents::empty();
            if !self.waiting.is_empty() {
                wanted |= PollEvents::POLLOUT;
            }
            if is_answered(self.kind) {
                wanted |= PollEvents::POLLIN;
                self.receive()?;
            }
            self.socket.wait(&self.context.waker, wanted)?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), ConnectorError> {
        while let Some(item) = self.waiting.pop_front() {
            if item.done.is_closed() {
                continue;
            }
            if !self.socket.has_room()? {
                self.waiting.push_front(item);
                // Messages that nobody waits for any more need no memory.
                self.waiting.retain(|item| !item.done.is_closed());
                return Ok(());
            }
            let twin = self.unanswered.get(&item.key);
            if twin.is_some_and(|done| !done.is_closed()) {
                let why = "a message with the same id is on its way and not answered yet";
                let _ = item.done.send(Err(SendOutcome::NotSent(why.to_owned())));
                continue;
            }
            if item.claim.swap(true, Ordering::AcqRel) {
                continue;
            }
            match self.socket.send(&item.frames)? {
                SocketSendResult::Taken if is_answered(self.kind) => {
                    if self.unanswered.len() >= FORGET {
                        self.unanswered.retain(|_, done| !done.is_closed());
                    }
                    self.unanswered.insert(item.key, item.done);
                }
                SocketSendResult::Taken => {
                    let _ = item.done.send(Ok(None));
                }
                SocketSendResult::Full | SocketSendResult::NoPeer => {
                    // The last peer left in between.
                    item.claim.store(false, Ordering::Release);
                    self.waiting.push_front(item);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), ConnectorError> {
        while let Some(received) = self.socket.receive()? {
            let answer =
                outgoing_message::answered(self.kind, received.frames).filter(|_| received.whole);
            let Some((key, answer)) = answer else {
                debug!("a peer sent what is no answer");
                continue;
            };
            match self.unanswered.remove(&key) {
                Some(done) => {
                    let _ = done.send(answer);
                }
                None => debug!("an answer came to what nobody waits for"),
            }
        }
        Ok(())
    }
}
