//! Probe of whether an exclusive consumer keeps others off, and of queues that know no such
//! consumer.
//!
//! Queues of the classic type do that; quorum queues of RabbitMQ accept the flag for exclusiveness
//! and ignore it. So a second exclusive consumer of our own is tried, and must be refused. Nothing
//! of what the broker hands out to it in the meantime is read.
//!
//! The probe runs once over each connection: where others are not kept off, each run counts as a
//! delivery of the messages that come and go.
//!
//! A queue with a single active consumer refuses every exclusive one, with the words for a queue
//! that somebody else consumes alone. The broker is asked who that is: while nobody consumes and it
//! still refuses, for [`REFUSES`], it is such a queue. To consume it without exclusiveness behind
//! `fence: exclusive` would be no fence, as nothing tells such a queue from any other whose
//! consumers come and go.

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

use super::{super::broker_link::ConnectorError, short_string::short, stream};

/// Time between a takeover and the probe: the broker is less busy then.
const AFTER: Duration = Duration::from_millis(500);
/// Time for which a queue that nobody consumes may refuse an exclusive consumer.
const REFUSES: Duration = Duration::from_secs(3);
/// Time for which a queue that is known to refuse is left alone: each attempt is an error in the
/// broker's log.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Results of the probe for a connection's queue.
#[derive(Default)]
pub(super) struct ExclusivityProbe {
    exclusive_queue: OnceLock<String>,
    shared_queue: OnceLock<(String, ConnectorError)>,
    refused: Mutex<ExclusivityRefusal>,
}

/// Refusals of exclusive consumers by a queue that nobody consumes.
#[derive(Default)]
struct ExclusivityRefusal {
    queue: String,
    since: Option<Instant>,
    /// Time at which the refusal was known, or tried again.
    known: Option<Instant>,
}

impl ExclusivityProbe {
    /// Returns an error where others are known not to be kept off.
    pub(super) fn check_not_refuted(&self, queue: &str) -> Result<(), ConnectorError> {
        if let Some((no, error)) = self.shared_queue.get()
            && no == queue
        {
            return Err(error.clone());
        }
        let refused = self.refused.lock();
        match refused.known {
            Some(known) if refused.queue == queue && known.elapsed() < ASK_AGAIN => {
                Err(single_active(queue))
            }
            _ => Ok(()),
        }
    }

    /// Runs the probe, while this process consumes `queue`; an error says that others are not kept
    /// off.
    pub(super) fn ask(
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
                Err(error) => {
                    let _ = self.shared_queue.set((queue, error.clone()));
                    Err(error)
                }
            }
        }
    }

    /// Handles the refusal of an exclusive consumer, with the broker's text `reason` and its count
    /// of consumers, if it reports one. With none for long, the queue lets none in.
    pub(super) fn refused(
        &self,
        queue: &str,
        reason: &str,
        consumers: Option<u32>,
    ) -> ConnectorError {
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
                    "another consumer has the queue {queue:?}, of which the broker counts {count}; it is taken over as soon as that one is gone ({reason})"
                ));
            }
            None => {
                return ConnectorError::transient(format!(
                    "the broker refuses an exclusive consumer of {queue:?}, and does not tell whether it has another one ({reason})"
                ));
            }
        }
        let now = Instant::now();
        let since = *refused.since.get_or_insert(now);
        if now.duration_since(since) < REFUSES {
            return ConnectorError::transient(format!(
                "the broker refuses an exclusive consumer of {queue:?}, of which it counts no other one; it is tried again ({reason})"
            ));
        }
        refused.known = Some(now);
        single_active(queue)
    }

    /// Notes that the consumer was let in.
    pub(super) fn let_in(&self) {
        *self.refused.lock() = ExclusivityRefusal::default();
    }
}

/// Runs the probe a moment later; resolves with its error, if there is one.
pub(super) async fn later(
    asking: impl Future<Output = Result<(), ConnectorError>>,
) -> ConnectorError {
    sleep(AFTER).await;
    match asking.await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}

/// Tries a second consumer; the inner error says why it isn't kept off.
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

/// Returns true if the broker refuses because another consumer has the queue alone, or as if.
pub(super) fn in_exclusive_use(error: &Error) -> bool {
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
