//! Queue that is open for input, and the message in the unit of work.
//!
//! # Why no message is lost, and none is settled twice
//!
//! - A message is got under syncpoint: until the commit it is the queue manager's, hidden, and
//!   comes back when the unit of work is backed out, be it by us, by our process' end or by the
//!   queue manager's.
//! - There is one message in the unit of work at a time, and it has a number. To settle it, its
//!   number must be given: a command that comes late finds another number, or none, and does
//!   nothing.
//! - Dead-lettering is the copy's put in the unit of work of the message's get: whatever happens,
//!   the message is on its queue or on the backout queue, and never on both.
//! - A commit whose answer is lost is *in doubt*: the queue manager did it, or backed out when the
//!   connection broke. It is reported as a failure; the message may come again, and its id shows
//!   that to the service.
//! - The queue is open for exclusive input: while this handle lives nobody else gets from it,
//!   whatever epoch they are of. The handle dies with the connection.

use std::time::Duration;

use bytes::Bytes;
use libmqm_sys as mq;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_resources::IbmMqConnection;
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    super::broker_link::{ConnectorError, DeadLetterInfo, IncomingMessage},
    commands::{MqArrival, MqSettlement},
    conversion::{BrowseOutcome, TextConversion},
    dead_letter, message,
    mqi_connection::{MqObject, MqiConnection, get::ROOM},
    reason_codes::{MqFailure, MqFailureKind},
};

/// Time that one get waits for a message. No command waits longer than that.
const SLICE_MS: i32 = 100;
/// Wait before the next try of a message that was given up and has nowhere to go.
const NOWHERE: Duration = Duration::from_secs(30);
/// Limit for a log line that each message may cause.
static IN_DOUBT: RateLimit = RateLimit::each_second();

/// Failure and its kind.
pub(super) type MqRefusal = (ConnectorError, MqFailureKind);

/// Queue that is open for input.
pub(super) struct MqQueueReader {
    queue: String,
    object: MqObject,
    jms: bool,
    messages: mpsc::Sender<MqArrival>,
    buffer: Vec<u8>,
    last: u64,
    unit: Option<UnitOfWork>,
    not_before: Instant,
    /// Message that had nowhere to go, and how often it had been backed out by then. Its tries are
    /// counted from there.
    unplaceable: Option<([u8; 24], i32)>,
    conversion: TextConversion,
    /// Message that was given back before any service saw it. MQ counts that, and this program
    /// doesn't.
    given_back_unseen: Option<[u8; 24]>,
    /// True while the consumer waits for a message.
    pub wanted: bool,
    /// True once nothing more is got.
    pub cancelled: bool,
}

/// Message in the unit of work.
struct UnitOfWork {
    token: u64,
    descriptor: mq::MQMD2,
    raw: Bytes,
}

fn refused(failure: MqFailure, manager: &IbmMqConnection, queue: &str) -> MqRefusal {
    (failure.into_error(manager, queue), failure.kind())
}

impl MqQueueReader {
    /// Opens the queue for exclusive input.
    pub(super) fn open(
        connection: &MqiConnection,
        manager: &IbmMqConnection,
        queue: String,
        jms: bool,
        messages: mpsc::Sender<MqArrival>,
    ) -> Result<Self, MqRefusal> {
        let explain = |failure| refused(failure, manager, &queue);
        let alone = mq::MQOO_INPUT_EXCLUSIVE
            | mq::MQOO_INQUIRE
            | mq::MQOO_SAVE_ALL_CONTEXT
            // Whatever the queue's DEFREADA says: messages that are read ahead are in no unit of
            // work.
            | mq::MQOO_NO_READ_AHEAD;
        let object = connection.open(&queue, alone).map_err(explain)?;
        // An inhibited queue can be opened all the same, and would be refused at each get.
        let inhibited = connection.inquire_number(&object, mq::MQIA_INHIBIT_GET);
        if inhibited.map_err(explain)? == mq::MQQA_GET_INHIBITED {
            connection.close(object).map_err(explain)?;
            return Err(explain(MqFailure {
                verb: "MQINQ",
                reason: mq::MQRC_GET_INHIBITED,
            }));
        }
        Ok(MqQueueReader {
            queue,
            object,
            jms,
            messages,
            buffer: vec![0; ROOM],
            last: 0,
            unit: None,
            not_before: Instant::now(),
            unplaceable: None,
            conversion: TextConversion::default(),
            given_back_unseen: None,
            wanted: false,
            cancelled: false,
        })
    }

    /// Returns when the next message has to be got; `None`: not before the consumer asks.
    pub(super) fn due(&self) -> Option<Instant> {
        let wanted = self.wanted && !self.cancelled && self.unit.is_none();
        wanted.then_some(self.not_before)
    }

    /// Returns how many messages are in the unit of work.
    pub(super) fn in_hand(&self) -> u64 {
        self.unit.is_some().into()
    }

    /// Gets a message, if one comes within a slice. An error is one of the connection.
    pub(super) fn get(
        &mut self,
        connection: &MqiConnection,
        manager: &IbmMqConnection,
    ) -> Result<(), ConnectorError> {
        let arrival = match self.take(connection) {
            Ok(None) => return Ok(()),
            Ok(Some(taken)) => Ok(taken),
            Err(failure) => {
                let (error, kind) = refused(failure, manager, &self.queue);
                if kind == MqFailureKind::ConnectionLost {
                    return Err(error);
                }
                self.cancelled = true;
                Err(error)
            }
        };
        self.wanted = false;
        // There is room for one, and there is no second one before this one is settled.
        if self.messages.try_send(arrival).is_err() {
            self.cancelled = true;
        }
        Ok(())
    }

    /// Takes a message into the unit of work. Where messages are browsed, it is the browsed one; a
    /// message that turns out to need browsing is given back, and comes again.
    fn take(
        &mut self,
        connection: &MqiConnection,
    ) -> Result<Option<(u64, IncomingMessage)>, MqFailure> {
        let (browsed, wait_ms) = match self.conversion.browse(connection, SLICE_MS)? {
            BrowseOutcome::Off => (None, SLICE_MS),
            BrowseOutcome::Empty => return Ok(None),
            // The message is there already, unless there was none to be seen.
            BrowseOutcome::Message(browsed) => match browsed.descriptor() {
                Some(_) => (Some(browsed), 0),
                None => (Some(browsed), SLICE_MS),
            },
        };
        let same_as = browsed.as_ref().and_then(|it| it.descriptor());
        let got = connection.get(&self.object, same_as, wait_ms, &mut self.buffer)?;
        let Some(got) = got else { return Ok(None) };
        let raw = Bytes::copy_from_slice(&self.buffer[..got.length]);
        if self.buffer.len() > ROOM {
            self.buffer = vec![0; ROOM];
        }
        let descriptor = got.descriptor;
        let browsed = browsed.filter(|it| it.is_same_as(&descriptor));
        let mut read = message::read(&descriptor, &raw, self.jms, browsed.as_ref());
        if read.needs_conversion {
            let Some(refused) = self.conversion.begin(connection, &self.queue)? else {
                connection.back_out()?;
                self.given_back_unseen = Some(descriptor.MsgId);
                return Ok(None);
            };
            read = message::read(&descriptor, &raw, self.jms, Some(&refused));
        }
        Ok(Some(self.taken(descriptor, raw, read.message)))
    }

    /// Notes a message that is in the unit of work, and counts its tries.
    fn taken(
        &mut self,
        descriptor: mq::MQMD2,
        raw: Bytes,
        mut message: IncomingMessage,
    ) -> (u64, IncomingMessage) {
        self.last += 1;
        if self.given_back_unseen == Some(descriptor.MsgId) {
            message.delivery_count = message.delivery_count.saturating_sub(1);
            message.redelivered = message.delivery_count > 0;
        }
        if let Some((_, before)) = self.unplaceable.filter(|(id, _)| *id == descriptor.MsgId) {
            let counted = descriptor.BackoutCount.saturating_sub(before);
            message.delivery_count = u32::try_from(counted).unwrap_or(0);
        }
        self.unit = Some(UnitOfWork {
            token: self.last,
            descriptor,
            raw,
        });
        (self.last, message)
    }

    /// Settles the message of this number.
    pub(super) fn settle(
        &mut self,
        connection: &MqiConnection,
        manager: &IbmMqConnection,
        token: u64,
        how: MqSettlement,
    ) -> Result<(), MqRefusal> {
        if self.unit.as_ref().is_none_or(|unit| unit.token != token) {
            let text = "the message is no longer in the unit of work";
            return Err((ConnectorError::transient(text), MqFailureKind::Permanent));
        }
        match how {
            MqSettlement::Commit => self.commit(connection, manager),
            MqSettlement::BackOut(wait) => self.back_out(connection, manager, wait),
            MqSettlement::DeadLetter { queue, info } => {
                self.dead_letter(connection, manager, &queue, &info)
            }
            MqSettlement::Reject(info) => self.reject(connection, manager, &info),
        }
    }

    fn commit(
        &mut self,
        connection: &MqiConnection,
        manager: &IbmMqConnection,
    ) -> Result<(), MqRefusal> {
        self.unit = None;
        connection.commit().map_err(|failure| {
            let (mut error, kind) = refused(failure, manager, &self.queue);
            if kind == MqFailureKind::ConnectionLost {
                error.text = format!(
                    "a commit is in doubt, and its message may come again: {}",
                    error.text
                );
                if let Some(left_out) = IN_DOUBT.due(&self.queue) {
                    warn!(queue = self.queue, left_out, "{}", error.text);
                }
            }
            (error, kind)
        })
    }

    fn back_out(
        &mut self,
        connection: &MqiConnection,
        manager: &IbmMqConnection,
        wait: Duration,
    ) -> Result<(), MqRefusal> {
        self.unit = None;
        self.not_before = Instant::now() + wait;
        let backed_out = connection.back_out();
        backed_out.map_err(|failure| refused(failure, manager, &self.queue))
    }

    /// Puts the copy; the commit that follows makes both take effect.
    fn dead_letter(
        &self,
        connection: &MqiConnection,
        manager: &IbmMqConnection,
        queue: &str,
        info: &DeadLetterInfo,
    ) -> Result<(), MqRefusal> {
        let Some(unit) = &self.unit else {
            return Ok(());
        };
        let (mut descriptor, body) =
            dead_letter::copy(&unit.descriptor, &unit.raw, info).map_err(|error| {
                let error = ConnectorError::new(error.to_string());
                (error, MqFailureKind::Permanent)
            })?;
        let put = connection.put_along(queue, &self.object, &mut descriptor, &body);
        put.map_err(|failure| {
            let (error, kind) = refused(failure, manager, queue);
            let text = format!("can't move a message to the backout queue: {}", error.text);
            (ConnectorError::new(text), kind)
        })
    }

    /// Rejects a message: the channel names no backout queue, but its queue may.
    fn reject(
        &mut self,
        connection: &MqiConnection,
        manager: &IbmMqConnection,
        info: &DeadLetterInfo,
    ) -> Result<(), MqRefusal> {
        let named = connection
            .inquire_name(&self.object, mq::MQCA_BACKOUT_REQ_Q_NAME)
            .map_err(|failure| refused(failure, manager, &self.queue))?;
        if !named.is_empty() {
            match self.dead_letter(connection, manager, &named, info) {
                Ok(()) => return self.commit(connection, manager),
                Err((error, MqFailureKind::ConnectionLost)) => {
                    return Err((error, MqFailureKind::ConnectionLost));
                }
                Err((error, _)) => {
                    return self.hold_unplaceable(connection, manager, &error.text);
                }
            }
        }
        let DeadLetterInfo {
            reason, attempts, ..
        } = info;
        let why = format!(
            "it has failed {attempts} times and has nowhere to go: set `backout_queue` of the channel, or BOQNAME of the queue (its last failure: {reason})"
        );
        self.hold_unplaceable(connection, manager, &why)
    }

    /// Holds a message that has nowhere to go: it is tried again, from the first try on, but not
    /// soon.
    fn hold_unplaceable(
        &mut self,
        connection: &MqiConnection,
        manager: &IbmMqConnection,
        why: &str,
    ) -> Result<(), MqRefusal> {
        let unit = self.unit.as_ref();
        // The backing out that follows counts as well.
        self.unplaceable = unit.map(|it| (it.descriptor.MsgId, it.descriptor.BackoutCount + 1));
        self.back_out(connection, manager, NOWHERE)?;
        let text = format!(
            "a message of {:?} holds the others up, and is tried again every {} s: {why}",
            self.queue,
            NOWHERE.as_secs()
        );
        Err((ConnectorError::new(text), MqFailureKind::Permanent))
    }

    /// Backs out what is not settled, and closes the queue.
    pub(super) fn close(
        self,
        connection: &MqiConnection,
        manager: &IbmMqConnection,
    ) -> Result<(), ConnectorError> {
        let given_back = match self.unit {
            Some(_) => connection.back_out(),
            None => Ok(()),
        };
        let closed = given_back
            .and_then(|()| self.conversion.close(connection))
            .and_then(|()| connection.close(self.object));
        closed.map_err(|failure| failure.into_error(manager, &self.queue))
    }
}
