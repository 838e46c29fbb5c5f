//! AMQP 0-9-1 over lapin.
//!
//! lapin's own recovery stays off: it would subscribe again in silence, past a lost lease. A
//! session is a channel of its own, so that all that is unacknowledged goes back with it. The
//! session's channel is open already while the process stands by: beginning to consume is then one
//! round trip to the broker.

mod connect;
mod consumer;
mod exclusivity_probe;
mod field_extent;
mod frame_sanitizer;
mod frame_size;
mod header_value;
mod message;
mod outgoing_message;
mod producer;
mod publisher;
mod refusal;
mod returned_message;
mod short_string;
mod stream;
mod stream_end;
mod tls;
mod transport;
mod unreadable_message;

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::Fuse};
use lapin::{
    Channel, Connection, Error, ErrorKind,
    options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};
use parking_lot::Mutex as SyncMutex;
use quorate_clock::rng;
use quorate_resources::{AmqpChannel, AmqpConnection, AmqpOutgoing, BrokerFence};
use rand::Rng;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use self::{
    connect::connect,
    consumer::{AmqpAcknowledger, AmqpConsumer},
    exclusivity_probe::{ExclusivityProbe, in_exclusive_use},
    producer::AmqpProducer,
    publisher::ConfirmPublisher,
    short_string::short,
    stream::{StreamPosition, StreamProbeError},
    stream_end::StreamEnd,
};
use super::broker_link::{BrokerLink, ConnectorError, InboundLink, OutboundLink};

/// Interval of checks of the connection, beside the events about it.
const LOOK: Duration = Duration::from_secs(1);

/// Connection to a broker.
pub(crate) struct AmqpLink {
    connection: Arc<Connection>,
    broker: AmqpConnection,
    name: String,
    label: String,
    /// Open channel that has not been used yet.
    spare_channel: Mutex<Option<Channel>>,
    /// Probe of whether the queues are consumed by one consumer alone.
    exclusivity: Arc<ExclusivityProbe>,
    /// Queue that was probed last, and whether it is a stream.
    known_stream: SyncMutex<Option<(String, bool)>>,
    /// Check of whether a stream ends before the offset at which to go on.
    stream_end: Arc<StreamEnd>,
}

impl BrokerLink for AmqpLink {
    type Connection = AmqpConnection;

    fn connection_key(of: &AmqpConnection) -> impl PartialEq {
        AmqpConnection {
            name: String::new(),
            management_url: None,
            ..of.clone()
        }
    }

    async fn connect(to: &AmqpConnection, label: &str) -> Result<Self, ConnectorError> {
        // No other connection of any member has this label.
        let label = format!(
            "{label} {}-{:08x}",
            std::process::id(),
            rng().random::<u32>()
        );
        let (connection, name) = connect(to, &label).await?;
        let link = AmqpLink {
            connection: Arc::new(connection),
            broker: to.clone(),
            name,
            label,
            spare_channel: Mutex::default(),
            exclusivity: Arc::default(),
            known_stream: SyncMutex::default(),
            stream_end: Arc::default(),
        };
        link.ensure_spare_channel().await;
        Ok(link)
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn label(&self) -> String {
        self.label.clone()
    }

    async fn wait_lost(&self) -> ConnectorError {
        let mut events = pin!(self.connection.events_listener());
        while !self.is_lost() {
            // Events report at once what breaks. The rest is seen a while later: a thousand
            // processes that check ten times a second are a processor's work.
            if let Ok(None) = timeout(LOOK, events.next()).await {
                sleep(LOOK).await;
            }
        }
        ConnectorError::new(format!(
            "the connection to {}:{} is lost: the broker closed it, or stopped answering",
            self.broker.host, self.broker.port
        ))
    }

    fn is_lost(&self) -> bool {
        !self.connection.status().connected()
    }

    async fn close(self) {
        let _ = self.connection.close(200, "OK".into()).await;
    }
}

impl InboundLink for AmqpLink {
    type Source = AmqpChannel;
    type Session = AmqpConsumer;

    fn session_key(of: &AmqpChannel) -> impl PartialEq {
        (&of.name, &of.queue, &of.consumer_tag_prefix)
    }

    async fn open(
        &self,
        queue: &AmqpChannel,
        prefetch: u16,
        epoch: Option<u64>,
        offset: Option<u64>,
    ) -> Result<AmqpConsumer, ConnectorError> {
        let refused = match self.consume(queue, prefetch, epoch, offset).await {
            Ok(consuming) => {
                self.exclusivity.let_in();
                return Ok(consuming);
            }
            Err(error) => error,
        };
        // The next try has a channel already.
        self.ensure_spare_channel().await;
        if !refused.transient {
            return Err(refused);
        }
        let consumers = self.look(queue).await.map(|it| it.consumer_count());
        Err(self
            .exclusivity
            .refused(&queue.queue, &refused.text, consumers))
    }

    fn source_name(&self, queue: &AmqpChannel) -> String {
        let AmqpConnection {
            host, port, vhost, ..
        } = &self.broker;
        format!("{host}:{port}/{vhost}/{}", queue.queue)
    }

    async fn is_taken(&self, queue: &AmqpChannel) -> Option<bool> {
        Some(self.look(queue).await?.consumer_count() > 0)
    }

    async fn waiting_count(&self, queue: &AmqpChannel) -> Option<u64> {
        // The session has taken the channel that was there.
        self.ensure_spare_channel().await;
        if self.is_known_stream(queue) {
            // A stream counts its messages, settled or not.
            return None;
        }
        Some(self.look(queue).await?.message_count().into())
    }
}

impl AmqpLink {
    /// Returns true if the queues are consumed by one consumer alone.
    fn is_exclusive(&self) -> bool {
        self.broker.fence == BrokerFence::Exclusive
    }

    /// Returns the broker's report on a queue, if it gives one.
    async fn look(&self, queue: &AmqpChannel) -> Option<lapin::Queue> {
        let channel = self.spare_channel.lock().await.clone()?;
        let name = short(&queue.queue, "the queue's name").ok()?;
        let asking = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let asked = channel.queue_declare(name, asking, FieldTable::default());
        asked.await.ok()
    }
}

impl OutboundLink for AmqpLink {
    type Target = AmqpOutgoing;
    type Producer = AmqpProducer;

    fn session_key(of: &AmqpOutgoing) -> impl PartialEq {
        AmqpOutgoing {
            connection: String::new(),
            active: true,
            ..of.clone()
        }
    }

    async fn open(&self, target: &AmqpOutgoing) -> Result<AmqpProducer, ConnectorError> {
        Ok(AmqpProducer {
            publisher: ConfirmPublisher::new(self.connection.clone()),
            target: target.clone(),
            user: self.broker.username.clone(),
            vhost: self.broker.vhost.clone(),
        })
    }
}

impl AmqpLink {
    /// Opens a spare channel if there is none. Without one, opening a session opens its own.
    async fn ensure_spare_channel(&self) {
        let mut spare = self.spare_channel.lock().await;
        if !spare
            .as_ref()
            .is_some_and(|channel| channel.status().connected())
        {
            *spare = self.connection.create_channel().await.ok();
        }
    }

    async fn consume(
        &self,
        queue: &AmqpChannel,
        prefetch: u16,
        epoch: Option<u64>,
        offset: Option<u64>,
    ) -> Result<AmqpConsumer, ConnectorError> {
        self.exclusivity.check_not_refuted(&queue.queue)?;
        // Behind an exclusive fence the exclusivity probe finds that out.
        let stream = !self.is_exclusive() && self.is_stream(queue).await?;
        let mut arguments = FieldTable::default();
        if stream {
            self.stream_end
                .check_reaches(&self.connection, queue, offset)
                .await?;
            stream::begin_at(&mut arguments, offset);
        }
        let explain = |error: Error| self.explain_open(&error, queue);
        let spare = self.spare_channel.lock().await.take();
        let channel = match spare.filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.connection.create_channel().await.map_err(explain)?,
        };
        let prefix = queue.consumer_tag_prefix.as_deref().unwrap_or("quorate");
        let suffix = epoch.map_or("ahead".to_owned(), |epoch| epoch.to_string());
        let tag = short(
            &format!("{prefix}-{}-{suffix}", queue.name),
            "the consumer tag",
        )?;
        let options = BasicConsumeOptions {
            exclusive: self.is_exclusive(),
            ..Default::default()
        };
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        let consuming = channel.basic_consume(
            short(&queue.queue, "the queue's name")?,
            tag.clone(),
            options,
            arguments,
        );
        // One after the other, without waiting in between: the broker keeps the order.
        let ((), consumer) = tokio::try_join!(biased; qos, consuming).map_err(explain)?;
        let mut doubt = Fuse::terminated();
        if let Some(offset) = offset.filter(|_| stream) {
            let end = self.stream_end.clone();
            let looking = end.falls_short(self.connection.clone(), queue.clone(), offset);
            doubt = looking.boxed().fuse();
        }
        if self.is_exclusive() {
            let asking = self
                .exclusivity
                .clone()
                .ask(self.connection.clone(), &queue.queue);
            if epoch.is_some() {
                if let Err(error) = asking.await {
                    let _ = channel.close(200, "OK".into()).await;
                    return Err(error);
                }
            } else {
                // A session that is opened before its reign delays the takeover: there the probe
                // runs a moment after that.
                doubt = exclusivity_probe::later(asking).boxed().fuse();
            }
        }
        let acknowledger = AmqpAcknowledger::new(&self.broker, &self.label);
        Ok(AmqpConsumer {
            channel,
            consumer,
            tag,
            queue: queue.queue.clone(),
            acknowledger,
            fence_doubt: doubt,
            position: stream.then(|| StreamPosition::new(offset)),
        })
    }
}

impl AmqpLink {
    /// Returns true if the queue is a stream. Probed for each session: the queue may be declared
    /// anew as one while the connection lasts, and be consumed from its end then.
    async fn is_stream(&self, queue: &AmqpChannel) -> Result<bool, ConnectorError> {
        match stream::is_stream(&self.connection, &queue.queue).await {
            Ok(stream) => {
                *self.known_stream.lock() = Some((queue.queue.clone(), stream));
                Ok(stream)
            }
            Err(StreamProbeError::Refused(error)) => Err(self.explain_open(&error, queue)),
            Err(StreamProbeError::Wrong(error)) => Err(error),
        }
    }

    fn is_known_stream(&self, queue: &AmqpChannel) -> bool {
        let known = self.known_stream.lock();
        known
            .as_ref()
            .is_some_and(|(name, stream)| *stream && *name == queue.queue)
    }

    /// Returns why consuming was refused, and what would be right.
    fn explain_open(&self, error: &Error, queue: &AmqpChannel) -> ConnectorError {
        let (queue, vhost) = (&queue.queue, &self.broker.vhost);
        let ErrorKind::ProtocolError(refused) = error.kind() else {
            return ConnectorError::new(format!("can't consume {queue:?}: {error}"));
        };
        let said = refused.get_message().as_str();
        match refused.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => ConnectorError::new(format!(
                "there is no queue {queue:?} in the vhost {vhost:?}: declare it at the broker, or correct `queue` ({said})"
            )),
            // The run loop asks next who has the queue.
            _ if in_exclusive_use(error) => ConnectorError::transient(said),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => ConnectorError::new(format!(
                "the user {:?} may not read the queue {queue:?}: give it the permission at the broker ({said})",
                self.broker.username
            )),
            _ => ConnectorError::new(format!("can't consume {queue:?}: {said}")),
        }
    }
}
