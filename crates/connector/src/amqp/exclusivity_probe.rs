//! Whether an exclusive consumer keeps others off, and which queues know no such consumer.
//!
//! Queues of the classic type do that; quorum queues of RabbitMQ take the wish for
//! exclusiveness and do nothing about it. So a second exclusive consumer of our own is tried,
//! and must be refused. Nothing of what the broker hands out to it meanwhile is read.
//!
//! It is asked once over each connection: where the answer is no, each time counts as a
//! delivery of the messages that come and go.
//!
//! A queue with a single active consumer refuses every exclusive one, with the words for a
//! queue that somebody else consumes alone. The broker is asked who that is: while nobody
//! consumes and it still refuses, for [`REFUSES`], it is such a queue. To consume it without
//! exclusiveness behind `fence: exclusive` would be no fence, as nothing tells such a queue
//! from any other whose consumers come and go.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lapin::{
    Connection, Error, ErrorKind,
    options::BasicConsumeOptions,
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};
use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::time::sleep;

use super::{super::broker_link::ConnectorError, short, stream};

/// How long after a takeover it is asked: then the broker has other things to do no more.
const AFTER: Duration = Duration::from_millis(500);
/// For so long a queue that nobody consumes may refuse an exclusive consumer.
const REFUSES: Duration = Duration::from_secs(3);
/// So long nothing is asked of a queue that is known to refuse: each time is an error in the
/// broker's log.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What is known of a connection's queue.
#[derive(Default)]
pub struct ExclusivityProbe {
    exclusive_queue: OnceLock<String>,
    shared_queue: OnceLock<(String, ConnectorError)>,
    refused: Mutex<ExclusivityRefusal>,
}

/// How a queue that nobody consumes refuses exclusive consumers.
#[derive(Default)]
struct ExclusivityRefusal {
    queue: String,
    since: Option<Instant>,
    /// When it was known, or asked again.
    known: Option<Instant>,
}

impl ExclusivityProbe {
    /// An error where the answer is known to be no.
    pub fn check_not_refuted(&self, queue: &str) -> Result<(), ConnectorError> {
        if let Some((no, trouble)) = self.shared_queue.get()
            && no == queue
        {
            return Err(trouble.clone());
        }
        let refused = self.refused.lock();
        match refused.known {
            Some(known) if refused.queue == queue && known.elapsed() < ASK_AGAIN => {
                Err(single_active(queue))
            }
            _ => Ok(()),
        }
    }

    /// Asks, while we consume `queue`; an error says that others are not kept off.
    pub fn ask(
        self: Arc<Self>,
        connection: Arc<Connection>,
        queue: &str,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send + use<> {
        let queue = queue.to_owned();
        async move {
            if self.exclusive_queue.get() == Some(&queue) {
                return Ok(());
            }
            match probe_second_consumer(&connection, &queue).await? {
                Ok(()) => {
                    let _ = self.exclusive_queue.set(queue);
                    Ok(())
                }
                Err(trouble) => {
                    let _ = self.shared_queue.set((queue, trouble.clone()));
                    Err(trouble)
                }
            }
        }
    }

    /// An exclusive consumer was refused in these words, while the broker counts so many
    /// consumers, if it tells. Of none, for long, the queue lets none in.
    pub fn refused(&self, queue: &str, said: &str, consumers: Option<u32>) -> ConnectorError {
        let mut refused = self.refused.lock();
        if consumers != Some(0) || refused.queue != queue {
            *refused = ExclusivityRefusal {
                queue: queue.to_owned(),
                ..ExclusivityRefusal::default()
            };
        }
        match consumers {
            Some(0) => {}
            Some(count) => {
                return ConnectorError::transient(format!(
                    "another consumer has the queue {queue:?}, of which the broker counts {count}; it is taken over as soon as that one is gone ({said})"
                ));
            }
            None => {
                return ConnectorError::transient(format!(
                    "the broker refuses an exclusive consumer of {queue:?}, and does not tell whether it has another one ({said})"
                ));
            }
        }
        let now = Instant::now();
        let since = *refused.since.get_or_insert(now);
        if now.duration_since(since) < REFUSES {
            return ConnectorError::transient(format!(
                "the broker refuses an exclusive consumer of {queue:?}, of which it counts no other one; it is tried again ({said})"
            ));
        }
        refused.known = Some(now);
        single_active(queue)
    }

    /// It was let in.
    pub fn let_in(&self) {
        *self.refused.lock() = ExclusivityRefusal::default();
    }
}

/// Asks a moment later; gives the trouble, if there is one.
pub async fn later(asking: impl Future<Output = Result<(), ConnectorError>>) -> ConnectorError {
    sleep(AFTER).await;
    match asking.await {
        Err(trouble) => trouble,
        Ok(()) => std::future::pending().await,
    }
}

/// Whether a second consumer is kept off; the inner trouble says why it isn't.
async fn probe_second_consumer(
    connection: &Connection,
    queue: &str,
) -> Result<Result<(), ConnectorError>, ConnectorError> {
    let can_not_tell = |error: Error| {
        ConnectorError::new(format!(
            "can't find out whether {queue:?} is consumed by one alone: {error}"
        ))
    };
    let second = connection.create_channel().await;
    let second = second.map_err(can_not_tell)?;
    let options = BasicConsumeOptions {
        exclusive: true,
        ..Default::default()
    };
    let name = short(queue, "the queue's name")?;
    let tag = "quorate-is-it-alone".into();
    // Without a prefetch count: a stream refuses that, whoever consumes it.
    let consuming = second.basic_consume(name, tag, options, FieldTable::default());
    match consuming.await {
        Err(error) if in_exclusive_use(&error) => Ok(Ok(())),
        Err(error) => match stream::is_stream(connection, queue).await {
            Ok(true) => Ok(Err(stream::unfenced(queue))),
            _ => Err(can_not_tell(error)),
        },
        Ok(_) => {
            let _ = second.close(200, "OK".into()).await;
            Ok(Err(unfenced(queue)))
        }
    }
}

/// Whether the broker refuses because somebody else consumes it alone, or as if.
pub fn in_exclusive_use(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(refused)
        if *refused.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
            && refused.get_message().as_str().contains("exclusive use"))
}

fn unfenced(queue: &str) -> ConnectorError {
    ConnectorError::new(format!(
        "the queue {queue:?} does not keep a second consumer off, as quorum queues don't: set `fence: lease` in the amqp_connection, or declare it as a classic queue"
    ))
}

fn single_active(queue: &str) -> ConnectorError {
    ConnectorError::new(format!(
        "the broker refuses an exclusive consumer of {queue:?} though nobody consumes it, as it does of a queue with a single active consumer: set `fence: lease` in the amqp_connection, or declare it without `x-single-active-consumer`"
    ))
}
