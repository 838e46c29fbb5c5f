//! AMQP 0-9-1 over lapin.
//!
//! lapin's own recovery stays off: it would subscribe again in silence, past a lost lease.
//! A session is a channel of its own, so that what is unacked goes back with it. While
//! standing by, the session's is open already: beginning to consume is then one round trip to
//! the broker.

mod alone;
mod broker;
mod extent;
mod field;
mod line;
mod message;
mod outgoing;
mod parcel;
mod publisher;
mod returns;
mod session;
mod sieve;
mod size;
mod stream;
mod stream_end;
mod tls;
mod unreadable;

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::Fuse};
use lapin::{
    Channel, Connection, Error, ErrorKind,
    options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{FieldTable, ShortString},
};
use parking_lot::Mutex as SyncMutex;
use quorate_clock::chance;
use rand::Rng;
use serde::Deserialize;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use self::{
    alone::{Alone, in_exclusive_use},
    broker::Broker,
    outgoing::{Sending, Target},
    publisher::Publisher,
    session::{Consuming, Hand},
    stream::{Asking, Position},
    stream_end::StreamEnd,
};
use super::link::{Inlet, Link, Outlet, Trouble};

/// Between two looks whether the connection is there, beside what is told of it.
const LOOK: Duration = Duration::from_secs(1);

/// `amqp_channel`, as far as consuming goes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Queue {
    name: String,
    queue: String,
    #[serde(default)]
    consumer_tag_prefix: Option<String>,
}

/// A connection.
pub struct Amqp {
    connection: Arc<Connection>,
    broker: Broker,
    name: String,
    label: String,
    /// An open channel that nothing was done with.
    spare: Mutex<Option<Channel>>,
    /// Whether its queues are consumed by one alone.
    alone: Arc<Alone>,
    /// The last queue of which it was found out whether it is a stream, and that.
    stream: SyncMutex<Option<(String, bool)>>,
    /// Whether a stream ends before the offset at which to go on.
    end: Arc<StreamEnd>,
}

impl Link for Amqp {
    type Connection = Broker;

    async fn connect(to: &Broker, label: &str) -> Result<Self, Trouble> {
        // No other connection of any member has this label.
        let label = format!(
            "{label} {}-{:08x}",
            std::process::id(),
            chance().random::<u32>()
        );
        let (connection, name) = to.connect(&label).await?;
        let link = Amqp {
            connection: Arc::new(connection),
            broker: to.clone(),
            name,
            label,
            spare: Mutex::default(),
            alone: Arc::default(),
            stream: SyncMutex::default(),
            end: Arc::default(),
        };
        link.stock().await;
        Ok(link)
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn label(&self) -> String {
        self.label.clone()
    }

    async fn lost(&self) -> Trouble {
        let mut events = pin!(self.connection.events_listener());
        while !self.is_lost() {
            // It tells what breaks at once. What it doesn't tell is seen a while later: a
            // thousand processes that look ten times a second are a processor's work.
            if let Ok(None) = timeout(LOOK, events.next()).await {
                sleep(LOOK).await;
            }
        }
        Trouble::new(format!(
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

impl Inlet for Amqp {
    type Source = Queue;
    type Session = Consuming;

    async fn open(
        &self,
        queue: &Queue,
        prefetch: u16,
        epoch: Option<u64>,
        offset: Option<u64>,
    ) -> Result<Consuming, Trouble> {
        let refused = match self.consume(queue, prefetch, epoch, offset).await {
            Ok(consuming) => {
                self.alone.let_in();
                return Ok(consuming);
            }
            Err(trouble) => trouble,
        };
        // The next try has a channel already.
        self.stock().await;
        if !refused.passing {
            return Err(refused);
        }
        let consumers = self.look(queue).await.map(|it| it.consumer_count());
        Err(self.alone.refused(&queue.queue, &refused.text, consumers))
    }

    fn name_of(&self, queue: &Queue) -> String {
        let Broker {
            host, port, vhost, ..
        } = &self.broker;
        format!("{host}:{port}/{vhost}/{}", queue.queue)
    }

    async fn taken(&self, queue: &Queue) -> Option<bool> {
        Some(self.look(queue).await?.consumer_count() > 0)
    }

    async fn waiting(&self, queue: &Queue) -> Option<u64> {
        // The session has the one that was there.
        self.stock().await;
        if self.is_known_stream(queue) {
            // It counts what it has, settled or not.
            return None;
        }
        Some(self.look(queue).await?.message_count().into())
    }
}

impl Amqp {
    /// What the broker says of a queue, if it does.
    async fn look(&self, queue: &Queue) -> Option<lapin::Queue> {
        let channel = self.spare.lock().await.clone()?;
        let name = short(&queue.queue, "the queue's name").ok()?;
        let asking = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let asked = channel.queue_declare(name, asking, FieldTable::default());
        asked.await.ok()
    }
}

impl Outlet for Amqp {
    type Target = Target;
    type Sender = Sending;

    async fn open(&self, target: &Target) -> Result<Sending, Trouble> {
        Ok(Sending {
            publisher: Publisher::new(self.connection.clone()),
            target: target.clone(),
            user: self.broker.username.clone(),
            vhost: self.broker.vhost.clone(),
        })
    }
}

impl Amqp {
    /// Sees to it that there is a spare channel. Without one, opening opens its own.
    async fn stock(&self) {
        let mut spare = self.spare.lock().await;
        if !spare
            .as_ref()
            .is_some_and(|channel| channel.status().connected())
        {
            *spare = self.connection.create_channel().await.ok();
        }
    }

    async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
        epoch: Option<u64>,
        offset: Option<u64>,
    ) -> Result<Consuming, Trouble> {
        self.alone.not_refuted(&queue.queue)?;
        // Behind an exclusive fence it is found out when that is asked.
        let stream = !self.broker.exclusive() && self.is_stream(queue).await?;
        let mut arguments = FieldTable::default();
        if stream {
            self.end
                .not_known_to_fall_short(&self.connection, queue, offset)
                .await?;
            stream::begin_at(&mut arguments, offset);
        }
        let explain = |error: Error| self.explain_open(&error, queue);
        let spare = self.spare.lock().await.take();
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
            exclusive: self.broker.exclusive(),
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
            let end = self.end.clone();
            let looking = end.falls_short(self.connection.clone(), queue.clone(), offset);
            doubt = looking.boxed().fuse();
        }
        if self.broker.exclusive() {
            let asking = self
                .alone
                .clone()
                .ask(self.connection.clone(), &queue.queue);
            if epoch.is_some() {
                if let Err(trouble) = asking.await {
                    let _ = channel.close(200, "OK".into()).await;
                    return Err(trouble);
                }
            } else {
                // What is opened ahead of a reign is on the way of a takeover: there it is
                // asked a moment after that.
                doubt = alone::later(asking).boxed().fuse();
            }
        }
        let settler = Hand::new(&self.broker, &self.label);
        Ok(Consuming {
            channel,
            consumer,
            tag,
            queue: queue.queue.clone(),
            settler,
            doubt,
            position: stream.then(|| Position::new(offset)),
        })
    }
}

impl Amqp {
    /// Whether the queue is a stream. Asked for each session: it may be declared anew as one
    /// while the connection lasts, and be consumed from its end then.
    async fn is_stream(&self, queue: &Queue) -> Result<bool, Trouble> {
        match stream::is_stream(&self.connection, &queue.queue).await {
            Ok(stream) => {
                *self.stream.lock() = Some((queue.queue.clone(), stream));
                Ok(stream)
            }
            Err(Asking::Refused(error)) => Err(self.explain_open(&error, queue)),
            Err(Asking::Wrong(trouble)) => Err(trouble),
        }
    }

    fn is_known_stream(&self, queue: &Queue) -> bool {
        let known = self.stream.lock();
        known
            .as_ref()
            .is_some_and(|(name, stream)| *stream && *name == queue.queue)
    }

    /// Why consuming was refused, and what would be right.
    fn explain_open(&self, error: &Error, queue: &Queue) -> Trouble {
        let (queue, vhost) = (&queue.queue, &self.broker.vhost);
        let ErrorKind::ProtocolError(refused) = error.kind() else {
            return Trouble::new(format!("can't consume {queue:?}: {error}"));
        };
        let said = refused.get_message().as_str();
        match refused.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Trouble::new(format!(
                "there is no queue {queue:?} in the vhost {vhost:?}: declare it at the broker, or correct `queue` ({said})"
            )),
            // Who has it is asked next.
            _ if in_exclusive_use(error) => Trouble::passing(said),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Trouble::new(format!(
                "the user {:?} may not read the queue {queue:?}: give it the permission at the broker ({said})",
                self.broker.username
            )),
            _ => Trouble::new(format!("can't consume {queue:?}: {said}")),
        }
    }
}

/// Whether the broker refuses with this reason, closing a channel.
fn is_refused(error: &Error, reason: AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said)
        if *said.kind() == AMQPErrorKind::Soft(reason))
}

fn short(text: &str, what: &str) -> Result<ShortString, Trouble> {
    ShortString::try_new(text).map_err(|_| {
        Trouble::new(format!(
            "{what} is {} bytes long; AMQP allows 255",
            text.len()
        ))
    })
}
