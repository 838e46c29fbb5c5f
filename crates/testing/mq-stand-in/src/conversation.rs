//! One connection: requests and their answers.

mod attributes;
mod getting;
mod objects;
mod orders;
mod putting;

use std::{
    collections::BTreeMap,
    io,
    net::TcpStream,
    time::{Duration, Instant},
};

use libmqm_sys as mq;
use parking_lot::MutexGuard;

use crate::{
    queue::Place,
    shared::Shared,
    store::Store,
    wire::{self, Answer, Fault, Reason, Request},
};

/// How often somebody who waits looks whether its connection is still there.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Conversation<'a> {
    shared: &'a Shared,
    id: u64,
    stream: TcpStream,
    user: String,
    application: String,
    connected: bool,
    objects: BTreeMap<i32, Open>,
    next_handle: i32,
}

/// An open object.
struct Open {
    /// The queue's name; `None` for the queue manager.
    queue: Option<String>,
    /// MQOO_*, with MQOO_INPUT_AS_Q_DEF as what the queue says it is.
    options: i32,
    /// The message that was last looked at.
    cursor: Option<Place>,
    /// The descriptor of the message that was last taken, for its context.
    taken: Option<Vec<u8>>,
}

/// What follows from a request.
enum Outcome {
    Answer(Answer, Vec<u8>),
    /// The connection breaks.
    Break,
}

type Did = Result<Outcome, Reason>;

fn done() -> Outcome {
    Outcome::Answer(Answer::default(), Vec::new())
}

fn number(number: i64) -> Outcome {
    let answer = Answer {
        number,
        ..Answer::default()
    };
    Outcome::Answer(answer, Vec::new())
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(shared: &'a Shared, id: u64, stream: TcpStream) -> Self {
        Conversation {
            shared,
            id,
            stream,
            user: String::new(),
            application: String::new(),
            connected: false,
            objects: BTreeMap::new(),
            next_handle: 1,
        }
    }

    /// Runs until it breaks or is ended.
    pub(crate) fn run(&mut self) {
        while let Ok((request, bytes)) = wire::read::<Request>(&mut self.stream) {
            if !matches!(request, Request::Control(_)) && self.hang().is_err() {
                return;
            }
            let ends = matches!(request, Request::Disconnect);
            let (answer, bytes) = match self.request(request, &bytes) {
                Ok(Outcome::Answer(answer, bytes)) => (answer, bytes),
                Ok(Outcome::Break) => return,
                Err(reason) => {
                    let answer = Answer {
                        completion: mq::MQCC_FAILED,
                        reason,
                        ..Answer::default()
                    };
                    (answer, Vec::new())
                }
            };
            let dead = self.shared.store.lock().dead;
            if dead || wire::write(&mut self.stream, &answer, &bytes).is_err() || ends {
                return;
            }
        }
    }

    /// Waits while nothing is answered.
    fn hang(&self) -> io::Result<()> {
        let mut store = self.shared.store.lock();
        while store.hanging {
            self.wait(&mut store, Instant::now() + LOOK)?;
        }
        Ok(())
    }

    /// Waits for a change, until then; fails when the connection is gone meanwhile.
    fn wait(&self, store: &mut MutexGuard<'_, Store>, until: Instant) -> io::Result<()> {
        let until = until.min(Instant::now() + LOOK);
        self.shared.changed.wait_until(store, until);
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        match peeked {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn request(&mut self, request: Request, bytes: &[u8]) -> Did {
        match request {
            Request::Control(order) => self.order(order, bytes),
            Request::Connect { .. } => self.connect(request),
            _ if !self.connected => Err(mq::MQRC_HCONN_ERROR),
            Request::Open { object, options } => self.open(&object, options),
            Request::Close { handle, options } => self.close(handle, options),
            Request::Get { .. } => self.get(&request, bytes),
            Request::Put {
                handle,
                object,
                options,
                context,
            } => self.put(handle, object.as_ref(), (options, context), bytes),
            Request::Inquire { handle, selectors } => self.inquire(handle, &selectors),
            Request::Commit => self.settle(true),
            Request::BackOut => self.settle(false),
            Request::Disconnect => {
                // As MQI does: what is in the unit of work is committed.
                self.shared.store.lock().settle(self.id, true);
                Ok(done())
            }
        }
    }

    fn connect(&mut self, request: Request) -> Did {
        let Request::Connect {
            queue_manager,
            channel,
            user,
            password,
            cipher,
            name,
            options,
            version,
        } = request
        else {
            return Err(mq::MQRC_UNEXPECTED_ERROR);
        };
        let settings = &self.shared.settings;
        let store = self.shared.store.lock();
        if store.unavailable {
            return Err(mq::MQRC_Q_MGR_NOT_AVAILABLE);
        }
        if store.quiescing {
            return Err(mq::MQRC_Q_MGR_QUIESCING);
        }
        if channel != settings.channel {
            return Err(mq::MQRC_UNKNOWN_CHANNEL_NAME);
        }
        if cipher != settings.cipher {
            return Err(mq::MQRC_SSL_INITIALIZATION_ERROR);
        }
        let told = (user.clone().unwrap_or_default(), password);
        if store.users.as_ref().is_some_and(|let_in| *let_in != told) {
            return Err(mq::MQRC_NOT_AUTHORIZED);
        }
        if !queue_manager.is_empty() && queue_manager != settings.name {
            return Err(mq::MQRC_Q_MGR_NAME_ERROR);
        }
        self.user = user.unwrap_or_default();
        self.application = name;
        self.connected = true;
        let mut connections = self.shared.connections.lock();
        connections.libraries.push((options, version));
        if let Some((_, library)) = connections.open.get_mut(&self.id) {
            *library = true;
        }
        Ok(number(i64::try_from(self.id).unwrap_or(0)))
    }

    fn settle(&mut self, commit: bool) -> Did {
        let mut store = self.shared.store.lock();
        if commit && store.fails(Fault::CommitUndone) {
            return Ok(Outcome::Break);
        }
        store.settle(self.id, commit);
        let breaks = commit && store.fails(Fault::CommitDone);
        drop(store);
        self.shared.changed.notify_all();
        Ok(if breaks { Outcome::Break } else { done() })
    }
}

/// Refuses what asked to be refused while the queue manager is being stopped.
fn quiet(store: &Store, fails: i32) -> Result<(), Reason> {
    if store.quiescing && fails != 0 {
        return Err(mq::MQRC_Q_MGR_QUIESCING);
    }
    Ok(())
}
