//! One connection: requests and their answers.

use std::{
    collections::BTreeMap,
    io,
    net::TcpStream,
    time::{Duration, Instant},
};

use libmqm_sys as mq;
use parking_lot::MutexGuard;

use crate::{
    descriptor::LENGTH,
    manager::Shared,
    queue::Held,
    store::{Found, Reason, Store},
    wire::{self, Answer, Fault, Order, Request},
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
    /// Open objects: a queue and its options, or the queue manager.
    objects: BTreeMap<i32, (Option<String>, i32)>,
    next_handle: i32,
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
            Request::Open { queue, options } => self.open(queue, options),
            Request::Close { handle } => self.close(handle),
            Request::Get {
                handle,
                options,
                wait_ms,
                room,
            } => self.get(handle, options, wait_ms, usize::try_from(room).unwrap_or(0)),
            Request::Put {
                handle,
                queue,
                options,
            } => self.put(handle, queue, options, bytes),
            Request::Inquire { handle, selector } => self.inquire(handle, selector),
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
        connections.libraries += 1;
        if let Some((_, library)) = connections.open.get_mut(&self.id) {
            *library = true;
        }
        Ok(number(i64::try_from(self.id).unwrap_or(0)))
    }

    fn open(&mut self, queue: Option<String>, options: i32) -> Did {
        let mut store = self.shared.store.lock();
        quiet(&store, options & mq::MQOO_FAIL_IF_QUIESCING)?;
        if let Some(name) = &queue {
            let alone = options & mq::MQOO_INPUT_EXCLUSIVE != 0;
            let shared = options & (mq::MQOO_INPUT_SHARED | mq::MQOO_INPUT_AS_Q_DEF) != 0;
            let queue = store.queue(name)?;
            if alone || shared {
                if !queue.admits(alone) {
                    return Err(mq::MQRC_OBJECT_IN_USE);
                }
                queue.readers.push((self.id, alone));
            }
        }
        let handle = self.next_handle;
        self.next_handle += 1;
        self.objects.insert(handle, (queue, options));
        Ok(number(handle.into()))
    }

    fn close(&mut self, handle: i32) -> Did {
        let (queue, options) = self.objects.remove(&handle).ok_or(mq::MQRC_HOBJ_ERROR)?;
        let input = mq::MQOO_INPUT_EXCLUSIVE | mq::MQOO_INPUT_SHARED | mq::MQOO_INPUT_AS_Q_DEF;
        if let Some(name) = queue
            && options & input != 0
        {
            let mut store = self.shared.store.lock();
            let readers = &mut store.queue(&name)?.readers;
            if let Some(at) = readers.iter().position(|(reader, _)| *reader == self.id) {
                readers.remove(at);
            }
        }
        Ok(done())
    }

    /// The queue that is open under this handle.
    fn queue(&self, handle: i32) -> Result<String, Reason> {
        let (queue, _) = self.objects.get(&handle).ok_or(mq::MQRC_HOBJ_ERROR)?;
        queue.clone().ok_or(mq::MQRC_OBJECT_TYPE_ERROR)
    }

    fn get(&mut self, handle: i32, options: i32, wait_ms: i32, room: usize) -> Did {
        let name = self.queue(handle)?;
        if options & mq::MQGMO_SYNCPOINT == 0 {
            return Err(mq::MQRC_OPTIONS_ERROR);
        }
        let wait = u64::try_from(wait_ms).unwrap_or(0);
        let deadline = Instant::now() + Duration::from_millis(wait);
        let mut store = self.shared.store.lock();
        loop {
            quiet(&store, options & mq::MQGMO_FAIL_IF_QUIESCING)?;
            match store.get(&name, self.id, room)? {
                Found::Message(_) if store.fails(Fault::Get) => return Ok(Outcome::Break),
                Found::Message(bytes) => {
                    let answer = Answer {
                        number: i64::try_from(bytes.len() - LENGTH).unwrap_or(0),
                        ..Answer::default()
                    };
                    return Ok(Outcome::Answer(answer, bytes));
                }
                Found::TooLong(length) => {
                    let answer = Answer {
                        completion: mq::MQCC_WARNING,
                        reason: mq::MQRC_TRUNCATED_MSG_FAILED,
                        number: i64::try_from(length).unwrap_or(0),
                        text: None,
                    };
                    return Ok(Outcome::Answer(answer, Vec::new()));
                }
                Found::Nothing if Instant::now() >= deadline => {
                    return Err(mq::MQRC_NO_MSG_AVAILABLE);
                }
                Found::Nothing => {
                    if self.wait(&mut store, deadline).is_err() {
                        return Ok(Outcome::Break);
                    }
                }
            }
        }
    }

    fn put(&mut self, handle: i32, queue: Option<String>, options: i32, bytes: &[u8]) -> Did {
        let name = queue.map_or_else(|| self.queue(handle), Ok)?;
        let mut store = self.shared.store.lock();
        quiet(&store, options & mq::MQPMO_FAIL_IF_QUIESCING)?;
        if store.fails(Fault::PutUndone) {
            return Ok(Outcome::Break);
        }
        let who = (self.id, self.user.as_str(), self.application.as_str());
        let descriptor = store.put(&name, bytes, options, who)?;
        let breaks = store.fails(Fault::PutDone);
        drop(store);
        self.shared.changed.notify_all();
        Ok(match breaks {
            true => Outcome::Break,
            false => Outcome::Answer(Answer::default(), descriptor),
        })
    }

    fn inquire(&mut self, handle: i32, selector: i32) -> Did {
        let text = |text: &str| {
            let answer = Answer {
                text: Some(text.to_owned()),
                ..Answer::default()
            };
            Outcome::Answer(answer, Vec::new())
        };
        if selector == mq::MQCA_Q_MGR_NAME {
            return Ok(text(&self.shared.settings.name));
        }
        let name = self.queue(handle)?;
        let mut store = self.shared.store.lock();
        let queue = store.queue(&name)?;
        let count = |count: usize| number(i64::try_from(count).unwrap_or(0));
        match selector {
            mq::MQIA_OPEN_INPUT_COUNT => Ok(count(queue.readers.len())),
            mq::MQIA_CURRENT_Q_DEPTH => Ok(count(queue.messages.len())),
            mq::MQIA_INHIBIT_GET => Ok(number(queue.attributes.get_inhibited.into())),
            mq::MQIA_INHIBIT_PUT => Ok(number(queue.attributes.put_inhibited.into())),
            mq::MQCA_BACKOUT_REQ_Q_NAME => Ok(text(&queue.attributes.backout_queue)),
            _ => Err(mq::MQRC_SELECTOR_ERROR),
        }
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

    fn order(&mut self, order: Order, bytes: &[u8]) -> Did {
        let mut store = self.shared.store.lock();
        let outcome = match order {
            Order::Define { queue, attributes } => {
                store.define(queue, attributes);
                done()
            }
            Order::Put { queue } => {
                let who = (self.id, "test", "a test's control");
                store.put(&queue, bytes, mq::MQPMO_NO_SYNCPOINT, who)?;
                done()
            }
            Order::Take { queue } => Outcome::Answer(Answer::default(), store.take(&queue)?),
            Order::Count { queue } => {
                let messages = &store.queue(&queue)?.messages;
                let there = messages
                    .values()
                    .filter(|it| !matches!(it.held, Held::Put(_)));
                number(i64::try_from(there.count()).unwrap_or(0))
            }
            Order::Readers { queue } => {
                number(i64::try_from(store.queue(&queue)?.readers.len()).unwrap_or(0))
            }
            Order::Users(users) => {
                store.users = users;
                done()
            }
            Order::Fault(fault) => {
                store.fault = Some(fault);
                done()
            }
            Order::Quiesce(quiescing) => {
                store.quiescing = quiescing;
                done()
            }
            Order::Hang(hanging) => {
                store.hanging = hanging;
                done()
            }
            Order::Unavailable(unavailable) => {
                store.unavailable = unavailable;
                done()
            }
            Order::Cut => {
                self.shared.connections.lock().cut(false);
                done()
            }
            Order::Connections => {
                number(i64::try_from(self.shared.connections.lock().libraries).unwrap_or(0))
            }
        };
        drop(store);
        self.shared.changed.notify_all();
        Ok(outcome)
    }
}

/// Refuses what asked to be refused while the queue manager is being stopped.
fn quiet(store: &Store, fails: i32) -> Result<(), Reason> {
    if store.quiescing && fails != 0 {
        return Err(mq::MQRC_Q_MGR_QUIESCING);
    }
    Ok(())
}
