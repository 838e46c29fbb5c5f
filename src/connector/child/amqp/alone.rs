//! Whether an exclusive consumer keeps others off.
//!
//! Queues of the classic type do that; quorum queues and streams of RabbitMQ take the wish for
//! exclusiveness and do nothing about it. So a second exclusive consumer of our own is tried,
//! and must be refused. Nothing of what the broker hands out to it meanwhile is read.
//!
//! It is asked once over each connection: where the answer is no, each time counts as a
//! delivery of the messages that come and go.

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
use tokio::time::sleep;

use super::{super::link::Trouble, session::unreadable, short};

/// How long after a takeover it is asked: then the broker has other things to do no more.
const AFTER: Duration = Duration::from_millis(500);

/// What is known of a connection's queue.
#[derive(Default)]
pub struct Alone {
    yes: OnceLock<String>,
    no: OnceLock<String>,
}

impl Alone {
    /// An error where the answer is known to be no.
    pub fn not_refuted(&self, queue: &str) -> Result<(), Trouble> {
        match self.no.get() {
            Some(no) if no == queue => Err(unfenced(queue)),
            _ => Ok(()),
        }
    }

    /// Asks, while we consume `queue`; an error says that others are not kept off.
    pub fn ask(
        self: Arc<Self>,
        connection: Arc<Connection>,
        queue: &str,
    ) -> impl Future<Output = Result<(), Trouble>> + Send + use<> {
        let queue = queue.to_owned();
        async move {
            if self.yes.get() == Some(&queue) {
                return Ok(());
            }
            let alone = is_alone(&connection, &queue).await?;
            let known = if alone { &self.yes } else { &self.no };
            let _ = known.set(queue.clone());
            self.not_refuted(&queue)
        }
    }
}

/// Asks a moment later; gives the trouble, if there is one.
pub async fn later(asking: impl Future<Output = Result<(), Trouble>>) -> Trouble {
    sleep(AFTER).await;
    match asking.await {
        Err(trouble) => trouble,
        Ok(()) => std::future::pending().await,
    }
}

async fn is_alone(connection: &Connection, queue: &str) -> Result<bool, Trouble> {
    let can_not_tell = |error: Error| {
        unreadable(queue, &error).unwrap_or_else(|| {
            Trouble::new(format!(
                "can't find out whether {queue:?} is consumed by one alone: {error}"
            ))
        })
    };
    let second = connection.create_channel().await;
    let second = second.map_err(can_not_tell)?;
    let options = BasicConsumeOptions {
        exclusive: true,
        ..Default::default()
    };
    let name = short(queue, "the queue's name")?;
    let tag = "quorate-is-it-alone".into();
    let consuming = second.basic_consume(name, tag, options, FieldTable::default());
    match consuming.await {
        Err(error) if in_exclusive_use(&error) => Ok(true),
        Err(error) => Err(can_not_tell(error)),
        Ok(_) => {
            let _ = second.close(200, "OK".into()).await;
            Ok(false)
        }
    }
}

/// Whether the broker refuses because somebody else consumes it alone.
pub fn in_exclusive_use(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(refused)
        if *refused.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
            && refused.get_message().as_str().contains("exclusive use"))
}

fn unfenced(queue: &str) -> Trouble {
    Trouble::new(format!(
        "the queue {queue:?} does not keep a second consumer off, as quorum queues don't: set `fence: lease` in the amqp_connection, or declare it as a classic queue"
    ))
}
