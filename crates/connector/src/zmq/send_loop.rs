//! The thread of an outgoing's socket: parcels out, answers in.
//!
//! A parcel waits here while no peer takes it. Whoever asked waits beside it, and the two
//! agree by a claim on what happened: whoever makes it first, the thread right before it
//! hands the parcel to libzmq or the caller when its time is over, decides whether the parcel
//! was sent. So "surely not sent" is never said of one that leaves later.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use quorate_ipc::local_rules::LocalRules;
use tokio::sync::oneshot;
use tracing::debug;
use zmq::PollEvents;

use super::{
    super::broker_link::ConnectorError,
    outgoing_message::{self, FramesOutcome, OutboundSocketType, ZmqOutgoingSettings},
    socket::{SocketSendResult, ZmqSocket},
    worker::WorkerContext,
};

/// Messages that wait in libzmq for one peer, and are lost with this process.
const QUEUED_MAX: i32 = 100;
/// The same for subscribers; to those that are slower, messages are lost.
const PUBLISHED_MAX: i32 = 1000;
/// Answers that may be waited for in vain before those are thrown out.
const FORGET: usize = 4096;

/// A parcel on its way.
pub struct PendingFrames {
    /// What its answer is known by.
    pub key: Bytes,
    /// What is sent.
    pub frames: Vec<Bytes>,
    /// Set by whoever decides whether it is sent.
    pub claim: Arc<AtomicBool>,
    /// Told what became of it.
    pub done: oneshot::Sender<FramesOutcome>,
}

/// Opens the socket.
pub fn open(target: &ZmqOutgoingSettings) -> Result<ZmqSocket, ConnectorError> {
    let kind = target.socket_type;
    target.endpoint.check(LocalRules::current())?;
    ZmqSocket::open(kind.socket_type(), &target.endpoint, |socket| {
        // Only to peers that are there: nothing is said to be sent that waits for one.
        socket.set_immediate(true)?;
        socket.set_sndhwm(if kind == OutboundSocketType::Pub {
            PUBLISHED_MAX
        } else {
            QUEUED_MAX
        })?;
        socket.set_rcvhwm(QUEUED_MAX)
    })
}

/// What the thread works with.
pub struct ZmqSendLoop {
    kind: OutboundSocketType,
    socket: ZmqSocket,
    context: WorkerContext<PendingFrames>,
    waiting: VecDeque<PendingFrames>,
    unanswered: HashMap<Bytes, oneshot::Sender<FramesOutcome>>,
}

impl ZmqSendLoop {
    /// Over this socket.
    pub fn new(
        kind: OutboundSocketType,
        socket: ZmqSocket,
        inside: WorkerContext<PendingFrames>,
    ) -> Self {
        ZmqSendLoop {
            kind,
            socket,
            context: inside,
            waiting: VecDeque::new(),
            unanswered: HashMap::new(),
        }
    }

    /// Works until it is told to end; an error: the socket is of no use any more.
    pub fn run(mut self) -> Result<(), ConnectorError> {
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
            if self.kind.is_answered() {
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
                // What nobody waits for any more needs no memory.
                self.waiting.retain(|item| !item.done.is_closed());
                return Ok(());
            }
            let twin = self.unanswered.get(&item.key);
            if twin.is_some_and(|done| !done.is_closed()) {
                let why = "a message with the same id is on its way and not answered yet";
                let _ = item.done.send(FramesOutcome::NotSent(why.to_owned()));
                continue;
            }
            if item.claim.swap(true, Ordering::AcqRel) {
                continue;
            }
            match self.socket.send(&item.frames)? {
                SocketSendResult::Taken if self.kind.is_answered() => {
                    if self.unanswered.len() >= FORGET {
                        self.unanswered.retain(|_, done| !done.is_closed());
                    }
                    self.unanswered.insert(item.key, item.done);
                }
                SocketSendResult::Taken => {
                    let _ = item.done.send(FramesOutcome::Taken);
                }
                SocketSendResult::Full | SocketSendResult::NoPeer => {
                    // The last peer went in between.
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
            let Some((key, verdict)) = answer else {
                debug!("a peer sent what is no answer");
                continue;
            };
            match self.unanswered.remove(&key) {
                Some(done) => {
                    let _ = done.send(verdict);
                }
                None => debug!("an answer came to what nobody waits for"),
            }
        }
        Ok(())
    }
}
