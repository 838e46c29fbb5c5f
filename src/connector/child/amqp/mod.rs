//! AMQP 0-9-1 over lapin.
//!
//! lapin's own recovery stays off: it would subscribe again in silence, past a lost lease.
//! A session is a channel of its own, so that what is unacked goes back with it, and a
//! second channel for the dead-letter queue, so that a refused publish doesn't take the
//! consumer down. While standing by, the first of them is open already: beginning to
//! consume is then one round trip to the broker.

mod message;
mod session;

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties, Error, ErrorKind,
    options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    tcp::{AMQPUriTcpExt, OwnedTLSConfig},
    types::{FieldTable, ShortString},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use serde::Deserialize;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use self::session::{Consuming, Hand};
use super::link::{Inlet, Link, Trouble};

const TCP_CONNECT: Duration = Duration::from_secs(5);

/// `amqp_connection`, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Broker {
    host: String,
    port: u16,
    vhost: String,
    username: String,
    #[serde(default)]
    password: Option<String>,
    heartbeat_s: u16,
    fence: String,
}

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
}

impl Link for Amqp {
    type Connection = Broker;
    async fn connect(to: &Broker, label: &str) -> Result<Self, Trouble> {
        let uri = AMQPUri {
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: to.username.clone(),
                    password: to.password.clone().unwrap_or_default(),
                },
                host: to.host.clone(),
                port: to.port,
            },
            vhost: to.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(to.heartbeat_s),
                ..AMQPQueryString::default()
            },
        };
        // No other connection of any member has this label.
        let label = format!(
            "{label} {}-{:08x}",
            std::process::id(),
            rand::random::<u32>()
        );
        let name = Arc::new(OnceLock::new());
        let named = name.clone();
        let properties =
            ConnectionProperties::default().with_connection_name(label.as_str().into());
        let runtime =
            lapin::runtime::default_runtime().map_err(|error| Trouble::new(error.to_string()))?;
        let connecting = Connection::connector(
            uri,
            runtime,
            async move |uri, runtime| {
                let config = OwnedTLSConfig::default();
                let connecting =
                    AMQPUriTcpExt::connect_with_config_async(&uri, config.as_ref(), &runtime);
                let late =
                    || io::Error::new(io::ErrorKind::TimedOut, "no answer to the connection");
                let stream = timeout(TCP_CONNECT, connecting)
                    .await
                    .map_err(|_| late())??;
                if let AsyncTcpStream::Plain(stream) = &stream {
                    let stream = stream.get_ref();
                    // As RabbitMQ calls it, unless addresses are translated on the way.
                    let name = format!("{} -> {}", stream.local_addr()?, stream.peer_addr()?);
                    let _ = named.set(name);
                }
                Ok(stream)
            },
            properties,
        );
        let connection = connecting.await.map_err(|error| to.explain(&error))?;
        let link = Amqp {
            connection: Arc::new(connection),
            broker: to.clone(),
            name: name.get().cloned().unwrap_or_default(),
            label,
            spare: Mutex::default(),
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
        while !self.is_lost() {
            sleep(Duration::from_millis(100)).await;
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
    ) -> Result<Consuming, Trouble> {
        let opened = self.consume(queue, prefetch, epoch).await;
        if opened.is_err() {
            // The next try has a channel already.
            self.stock().await;
        }
        opened
    }

    async fn taken(&self, queue: &Queue) -> Option<bool> {
        Some(self.look(queue).await?.consumer_count() > 0)
    }

    async fn waiting(&self, queue: &Queue) -> Option<u64> {
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
    ) -> Result<Consuming, Trouble> {
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
            exclusive: self.broker.fence == "exclusive",
            ..Default::default()
        };
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        let consuming = channel.basic_consume(
            short(&queue.queue, "the queue's name")?,
            tag.clone(),
            options,
            FieldTable::default(),
        );
        // One after the other, without waiting in between: the broker keeps the order.
        let ((), consumer) = tokio::try_join!(biased; qos, consuming).map_err(explain)?;
        let settler = Hand::new(self.connection.clone());
        Ok(Consuming {
            channel,
            consumer,
            tag,
            queue: queue.queue.clone(),
            settler,
        })
    }
}

impl Broker {
    /// Why connecting failed, and what would be right.
    fn explain(&self, error: &Error) -> Trouble {
        let Broker {
            host,
            port,
            vhost,
            username,
            ..
        } = self;
        Trouble::new(match error.kind() {
            ErrorKind::ProtocolError(refused) => match refused.kind() {
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => format!(
                    "the broker {host}:{port} refused the user {username:?}: correct username or password in the amqp_connection"
                ),
                AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => format!(
                    "the broker {host}:{port} did not let the user {username:?} into the vhost {vhost:?}: it must exist and the user must have permissions in it ({})",
                    refused.get_message()
                ),
                _ => format!("the broker {host}:{port} refused the connection: {error}"),
            },
            ErrorKind::IOError(error) => {
                format!(
                    "can't reach the broker {host}:{port}: {error}; is it running, and are host and port right?"
                )
            }
            _ => format!("can't connect to the broker {host}:{port}: {error}"),
        })
    }
}

impl Amqp {
    /// Why consuming was refused, and what would be right.
    fn explain_open(&self, error: &Error, queue: &Queue) -> Trouble {
        let (queue, vhost) = (&queue.queue, &self.broker.vhost);
        let ErrorKind::ProtocolError(refused) = error.kind() else {
            return Trouble::new(format!("can't consume {queue:?}: {error}"));
        };
        let said = refused.get_message().as_str();
        match refused.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Trouble::new(format!(
                "there is no queue {queue:?} in the vhost {vhost:?}: declare it at the broker, or correct `queue`"
            )),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) if said.contains("exclusive use") => {
                Trouble::passing(format!(
                    "another consumer has the queue {queue:?}; it is taken over as soon as that one is gone"
                ))
            }
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Trouble::new(format!(
                "the user {:?} may not read the queue {queue:?}: give it the permission at the broker ({said})",
                self.broker.username
            )),
            _ => Trouble::new(format!("can't consume {queue:?}: {said}")),
        }
    }
}

fn short(text: &str, what: &str) -> Result<ShortString, Trouble> {
    ShortString::try_new(text).map_err(|_| {
        Trouble::new(format!(
            "{what} is {} bytes long; AMQP allows 255",
            text.len()
        ))
    })
}
