//! Streams, which are consumed from an offset and keep what was acknowledged.
//!
//! A consumer that names no offset gets what comes from then on, so what came between two
//! sessions would be passed by. The offset of the first message that is not settled is kept
//! across sessions and takeovers (see `progress`), and the next session begins there, or with the
//! first message that the stream has, where nothing is kept. Where the stream ends before
//! that offset it is not consumed (see `stream_end`).
//!
//! A stream knows no exclusive consumer, so it is consumed behind `fence: lease` alone.
//!
//! AMQP has no question for the type of a queue. Only a stream takes an offset to consume
//! from, and RabbitMQ refuses it of every other queue before it does anything. A broker that
//! knows no streams takes no notice of it: there a second try, without a prefetch count, is
//! granted, which a stream refuses.

use lapin::{
    Channel, Connection, Error,
    options::{BasicConsumeOptions, BasicQosOptions},
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};
use quorate_planted::{Mutant, planted};

use super::{super::broker_link::ConnectorError, is_refused, short};

/// From where a consumer begins, and where in its stream a message is.
pub const OFFSET: &str = "x-stream-offset";

/// Whether a queue is a stream. Of one, nothing is taken for that.
pub async fn is_stream(connection: &Connection, queue: &str) -> Result<bool, StreamProbeError> {
    let takes_an_offset = granted(connection, queue, true).await?;
    Ok(takes_an_offset && !granted(connection, queue, false).await?)
}

/// Why it could not be found out.
pub enum StreamProbeError {
    /// The broker says no, to whoever consumes it.
    Refused(Error),
    /// The name can't be one.
    Wrong(ConnectorError),
}

impl From<Error> for StreamProbeError {
    fn from(error: Error) -> Self {
        StreamProbeError::Refused(error)
    }
}

/// Whether a consumer from the stream's end is let in, with a prefetch count or without.
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
        // It is something about the queue that the broker refuses for.
        Err(error) if is_refused(&error, AMQPSoftError::PRECONDITIONFAILED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The arguments of a consumer that begins at this offset, or with the first message.
pub fn begin_at(arguments: &mut FieldTable, offset: Option<u64>) {
    let offset = offset.and_then(|it| i64::try_from(it).ok());
    let from = match offset {
        _ if planted(Mutant::StreamOffsetForgotten) => AMQPValue::LongString("next".into()),
        Some(offset) => AMQPValue::LongLongInt(offset),
        None => AMQPValue::LongString("first".into()),
    };
    arguments.insert(OFFSET.into(), from);
}

/// Why it is not consumed behind `fence: exclusive`.
pub fn unfenced(queue: &str) -> ConnectorError {
    ConnectorError::new(format!(
        "{queue:?} is a stream, which does not keep a second consumer off: set `fence: lease` in the amqp_connection"
    ))
}

/// What a message's offset may be ahead of the one before it. Between two there is what the
/// broker itself writes into a stream; more is what another stream said of a message that was
/// copied from there, header and all.
const GAP: u64 = 1000;

/// Where a session is in its stream.
#[derive(Debug)]
pub struct StreamPosition {
    /// What comes before it was settled already. A stream is stored in chunks, and a consumer
    /// begins with the one in which its offset is.
    from: u64,
    /// The offset of the message before, as far as it is known.
    last: Option<u64>,
    /// What the message before said, believed or not.
    said: Option<u64>,
}

impl StreamPosition {
    /// Of a consumer that begins here.
    pub fn new(from: Option<u64>) -> StreamPosition {
        StreamPosition {
            from: from.unwrap_or_default(),
            last: None,
            said: None,
        }
    }

    /// The offset of the next message, which says that it has this one, if that can be read;
    /// `None`: it was settled already.
    ///
    /// Where in doubt it is the earliest that it can be: what is taken for too early comes
    /// again, and what is taken for too late would be passed over. A leap, as to the first
    /// message that a stream still has, is believed once a second message says so.
    pub fn next(&mut self, said: Option<u64>) -> Option<u64> {
        let before = std::mem::replace(&mut self.said, said);
        let follows = |offset: u64, before: u64| offset > before && offset - before <= GAP;
        let known = said.filter(|said| {
            let again = before.is_some_and(|before| follows(*said, before));
            match self.last {
                Some(last) => *said > last && (again || follows(*said, last)),
                None => again || *said < self.from + GAP,
            }
        });
        let Some(offset) = known.or(self.last.map(|last| last + 1)) else {
            // It may be one that was settled, or the one to begin with.
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
    fn a_session_begins_with_what_is_not_settled() {
        let mut position = StreamPosition::new(Some(7));
        let offsets = (5..10).map(|offset| position.next(Some(offset)));
        let told: Vec<Option<u64>> = offsets.collect();
        assert_eq!(told, [None, None, Some(7), Some(8), Some(9)]);
        assert_eq!(StreamPosition::new(None).next(Some(0)), Some(0));
    }

    #[test]
    fn a_leap_is_believed_once_another_message_says_so() {
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
        // Never back, whoever says so again.
        assert_eq!(position.next(Some(4)), Some(10));
        assert_eq!(position.next(None), Some(11));
        assert_eq!(position.next(Some(12)), Some(12));
        assert_eq!(position.next(Some(15)), Some(15));
    }

    #[test]
    fn a_first_message_without_an_offset_passes_over_nothing() {
        let mut position = StreamPosition::new(Some(7));
        assert_eq!(position.next(None), Some(6));
        assert_eq!(position.next(Some(5)), None);
        assert_eq!(position.next(None), Some(6));
        assert_eq!(position.next(Some(7)), Some(7));
    }
}
