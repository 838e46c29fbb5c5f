//! Check that a stream still reaches to the kept offset.
//!
//! A stream that was deleted and declared anew begins with 0 again. A consumer from an offset
//! beyond its end is let in all the same, and gets nothing until the stream has grown beyond that
//! offset, neither of what is there nor of what comes. So the end is looked for beside each session
//! that begins at a kept offset: a consumer of the last chunk of the stream reads it until it has
//! seen the message before that offset, or until nothing more comes. Of a stream that has nothing
//! yet it waits for the first message.
//!
//! A channel whose stream falls short does not go on: whether it has to begin with the first
//! message is for an operator to decide who knows what became of the stream. The result is
//! remembered, so that the next session is not begun before the end was looked for again.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use lapin::{
    Connection, Error,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use parking_lot::Mutex;
use quorate_resources::AmqpChannel;
use tokio::time::timeout;
use tracing::warn;

use super::{
    super::broker_link::ConnectorError, message, short_string::short, stream,
    unreadable_message::unreadable,
};

/// Time without a message of a chunk after which the chunk has ended.
const QUIET: Duration = Duration::from_secs(3);
/// Longest search for the end before a session.
const LOOK: Duration = Duration::from_secs(8);
/// Messages of the chunk that are handed out ahead.
const AHEAD: u16 = 100;

/// Results of the checks of a connection's stream.
#[derive(Default)]
pub(super) struct StreamEnd {
    /// Stream that falls short, the offset that it does not reach, and the error.
    short: Mutex<Option<(String, u64, ConnectorError)>>,
}

impl StreamEnd {
    /// Resolves with an error once the stream is found to end before this offset, at which a
    /// session begins.
    pub(super) async fn falls_short(
        self: Arc<Self>,
        connection: Arc<Connection>,
        queue: AmqpChannel,
        offset: u64,
    ) -> ConnectorError {
        match end_before(&connection, &queue.queue, offset).await {
            Ok(Some(last)) => {
                let error = begins_anew(&queue, last, offset);
                *self.short.lock() = Some((queue.queue, offset, error.clone()));
                return error;
            }
            Ok(None) => {}
            // The session's own consumer reports what is wrong with the queue as well.
            Err(error) => {
                warn!(queue = queue.queue, %error, "the end of a stream can't be looked for");
            }
        }
        std::future::pending().await
    }

    /// Returns an error where the stream was found to fall short of this offset, and does so still.
    pub(super) async fn check_reaches(
        &self,
        connection: &Connection,
        queue: &AmqpChannel,
        offset: Option<u64>,
    ) -> Result<(), ConnectorError> {
        let known = self.short.lock().clone();
        let Some((_, offset, error)) =
            known.filter(|(name, at, _)| *name == queue.queue && Some(*at) == offset)
        else {
            return Ok(());
        };
        match timeout(LOOK, end_before(connection, &queue.queue, offset)).await {
            Ok(Ok(Some(last))) => Err(begins_anew(queue, last, offset)),
            Ok(Ok(None)) => {
                *self.short.lock() = None;
                Ok(())
            }
            // Nothing better is known.
            Ok(Err(_)) | Err(_) => Err(error),
        }
    }
}

/// Returns the last offset of a stream that ends before this one; `None` of one that reaches to it.
async fn end_before(
    connection: &Connection,
    queue: &str,
    offset: u64,
) -> Result<Option<u64>, Error> {
    let Ok(name) = short(queue, "the queue's name") else {
        return Ok(None);
    };
    if offset == 0 {
        return Ok(None);
    }
    let channel = connection.create_channel().await?;
    channel.basic_qos(AHEAD, BasicQosOptions::default()).await?;
    let mut from = FieldTable::default();
    from.insert(stream::OFFSET.into(), AMQPValue::LongString("last".into()));
    let tag = "quorate-where-is-its-end".into();
    let consuming = channel.basic_consume(name, tag, BasicConsumeOptions::default(), from);
    let mut consumer = consuming.await?;
    let mut last: Option<u64> = None;
    let reaches = loop {
        let next = if last.is_none() {
            consumer.next().await
        } else {
            match timeout(QUIET, consumer.next()).await {
                Ok(next) => next,
                Err(_) => break false,
            }
        };
        // Without its consumer nothing is known; the session has lost its own as well.
        let Some(delivery) = next else { break true };
        let mut delivery = delivery?;
        if let Some(readable) = unreadable(&delivery.properties) {
            delivery.properties = readable.properties;
        }
        let at = message::offset(&delivery.properties).unwrap_or_default();
        last = last.max(Some(at));
        if last >= Some(offset - 1) {
            break true;
        }
        // This settles nothing in a stream: it asks for the next messages.
        delivery.acker.ack(BasicAckOptions::default()).await?;
    };
    let _ = channel.close(200, "OK".into()).await;
    Ok(last.filter(|_| !reaches))
}

fn begins_anew(queue: &AmqpChannel, last: u64, offset: u64) -> ConnectorError {
    let AmqpChannel { name, queue, .. } = queue;
    ConnectorError::new(format!(
        "the stream {queue:?} ends with offset {last}, and this channel is to go on at {offset}: was it deleted and declared anew? Nothing of it is handled, so that nothing is passed over. To handle all that it has, run `quorate delete amqp_channel {name}` and apply the channel again"
    ))
}
