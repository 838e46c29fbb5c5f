//! Streams, which are consumed from an offset and keep what was acknowledged.
//!
//! A consumer that names no offset gets what comes from then on, so messages that came between two
//! sessions would be skipped. The offset of the first unsettled message is kept across sessions and
//! takeovers (see `progress`), and the next session begins there, or with the first message that
//! the stream has, where nothing is kept. Where the stream ends before that offset it is not
//! consumed (see `stream_end`).
//!
//! A stream knows no exclusive consumer, so it is consumed behind `fence: lease` alone.
//!
//! AMQP has no query for the type of a queue. Only a stream takes an offset to consume from, and
//! RabbitMQ refuses it of every other queue before it does anything. A broker that knows no streams
//! takes no notice of it: there a second try, without a prefetch count, is granted, which a stream
//! refuses.

use lapin::{
    Channel, Connection, Error,
    options::{BasicConsumeOptions, BasicQosOptions},
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};
use quorate_planted::{Mutant, planted};

use super::{super::broker_link::ConnectorError, refusal::is_refused, short_string::short};

/// Argument for the offset of a consumer, and header with that of a message.
pub(super) const OFFSET: &str = "x-stream-offset";

/// Returns true if a queue is a stream. Nothing is taken from the queue for that.
pub(super) async fn is_stream(
    connection: &Connection,
    queue: &str,
) -> Result<bool, StreamProbeError> {
    let takes_an_offset = granted(connection, queue, true).await?;
    Ok(takes_an_offset && !granted(connection, queue, false).await?)
}

/// Reason why the probe failed.
pub(super) enum StreamProbeError {
    /// The broker refuses every consumer.
    Refused(Error),
    /// The name can't be that of a queue.
    Wrong(ConnectorError),
}

impl From<Error> for StreamProbeError {
    fn from(error: Error) -> Self {
        StreamProbeError::Refused(error)
    }
}

/// Returns true if a consumer from the stream's end is let in, with a prefetch count or without.
async fn granted(
    connection: &Connection,
    queue: &str,
    prefetch: bool,
) -> Result<bool, StreamProbeError> {
    let name = short(queue, "the queue's name").map_err(StreamProbeError::Wrong)?;
    let channel: Channel = connection.create_channel().await?;
    if prefetch {
        channel.basic_qos(1, BasicQosOptions::default()).await?;
    }
    let mut from = FieldTable::default();
    from.insert(OFFSET.into(), AMQPValue::LongString("next".into()));
    let tag = "quorate-is-it-a-stream".into();
    let consuming = channel.basic_consume(name, tag, BasicConsumeOptions::default(), from);
    match consuming.await {
        Ok(_) => {
            let _ = channel.close(200, "OK".into()).await;
            Ok(true)
        }
        // The broker refuses because of the queue.
        Err(error) if is_refused(&error, AMQPSoftError::PRECONDITIONFAILED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sets the arguments of a consumer that begins at this offset, or with the first message.
pub(super) fn begin_at(arguments: &mut FieldTable, offset: Option<u64>) {
    let offset = offset.and_then(|it| i64::try_from(it).ok());
    let from = match offset {
        _ if planted(Mutant::StreamOffsetForgotten) => AMQPValue::LongString("next".into()),
        Some(offset) => AMQPValue::LongLongInt(offset),
        None => AMQPValue::LongString("first".into()),
    };
    arguments.insert(OFFSET.into(), from);
}

/// Returns why the stream is not consumed behind `fence: exclusive`.
pub(super) fn unfenced(queue: &str) -> ConnectorError {
    ConnectorError::new(format!(
        "{queue:?} is a stream, which does not keep a second consumer off: set `fence: lease` in the amqp_connection"
    ))
}

/// Upper bound of the step from one offset to the next. Between two messages there is what the
/// broker itself writes into a stream; more is the offset in another stream, of a message that was
/// copied from there, header and all.
const GAP: u64 = 1000;

/// Position of a session in its stream.
#[derive(Debug)]
pub(super) struct StreamPosition {
    /// First offset to consume; earlier messages were settled already. A stream is stored in
    /// chunks, and a consumer begins with the one in which its offset is.
    from: u64,
    /// Offset of the message before, as far as it is known.
    last: Option<u64>,
    /// Offset in the header of the message before, believed or not.
    claimed: Option<u64>,
}

impl StreamPosition {
    /// Returns the position of a consumer that begins here.
    pub(super) fn new(from: Option<u64>) -> StreamPosition {
        StreamPosition {
            from: from.unwrap_or_default(),
            last: None,
            claimed: None,
        }
    }

    /// Returns the offset of the next message, whose header has the offset `claimed`, if it can be
    /// read; `None`: the message was settled already.
    ///
    /// In doubt the result is the earliest offset possible: a message that is taken for too early
    /// comes again, and one that is taken for too late would be skipped. A leap, as to the first
    /// message that a stream still has, is believed once a second message confirms it.
    pub(super) fn next(&mut self, claimed: Option<u64>) -> Option<u64> {
        let before = std::mem::replace(&mut self.claimed, claimed);
        let follows = |offset: u64, before: u64| offset > before && offset - before <= GAP;
        let known = claimed.filter(|claimed| {
            let again = before.is_some_and(|before| follows(*claimed, before));
            match self.last {
                Some(last) => *claimed > last && (again || follows(*claimed, last)),
                None => again || *claimed < self.from + GAP,
            }
        });
        let Some(offset) = known.or(self.last.map(|last| last + 1)) else {
            // This may be a settled message, or the one to begin with.
            return Some(self.from.saturating_sub(1));
        };
        self.last = Some(offset);
        let settled = known.is_some() && offset < self.from;
        (!settled).then_some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_begins_at_first_unsettled_offset() {
        let mut position = StreamPosition::new(Some(7));
        let offsets = (5..10).map(|offset| position.next(Some(offset)));
        let told: Vec<Option<u64>> = offsets.collect();
        assert_eq!(told, [None, None, Some(7), Some(8), Some(9)]);
        assert_eq!(StreamPosition::new(None).next(Some(0)), Some(0));
    }

    #[test]
    fn leap_is_believed_at_second_message() {
        // What was before 5000 is kept no more.
        let mut position = StreamPosition::new(Some(7));
        assert_eq!(position.next(Some(5000)), Some(6));
        assert_eq!(position.next(Some(5001)), Some(5001));
        assert_eq!(position.next(Some(5002)), Some(5002));
    }

    #[test]
    fn an_offset_that_can_not_be_is_none() {
        let mut position = StreamPosition::new(Some(7));
        assert_eq!(position.next(Some(7)), Some(7));
        // That of another stream, before and behind, and none at all.
        assert_eq!(position.next(Some(900_000)), Some(8));
        assert_eq!(position.next(Some(3)), Some(9));
        // Never back, however often a header has it.
        assert_eq!(position.next(Some(4)), Some(10));
        assert_eq!(position.next(None), Some(11));
        assert_eq!(position.next(Some(12)), Some(12));
        assert_eq!(position.next(Some(15)), Some(15));
    }

    #[test]
    fn first_message_without_offset_skips_nothing() {
        let mut position = StreamPosition::new(Some(7));
        assert_eq!(position.next(None), Some(6));
        assert_eq!(position.next(Some(5)), None);
        assert_eq!(position.next(None), Some(6));
        assert_eq!(position.next(Some(7)), Some(7));
    }
}
