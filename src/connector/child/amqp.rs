//! AMQP 0-9-1 over lapin.
//!
//! lapin's own recovery stays off: it would subscribe again in silence, past a lost lease.
//! A session is a channel of its own, so that what is unacked goes back with it, and a
//! second channel for the dead-letter queue, so that a refused publish doesn't take the
//! consumer down.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    Error, ErrorKind,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions,
        BasicPublishOptions, BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions,
    },
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

use super::{
    amqp_message,
    link::{Epitaph, Link, Message, Session, Settler, Trouble},
};

const TCP_CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for a publisher confirm.
const CONFIRM: Duration = Duration::from_secs(10);
/// The longest wait for the broker to stop a consumer.
const CANCEL: Duration = Duration::from_secs(5);

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
    label: String,
}

impl Link for Amqp {
    type Connection = Broker;
    type Consumer = Queue;
    type Session = Consuming;

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
        let label = format!("{label} pid {}", std::process::id());
        let properties =
            ConnectionProperties::default().with_connection_name(label.as_str().into());
        let runtime =
            lapin::runtime::default_runtime().map_err(|error| Trouble::new(error.to_string()))?;
        let connecting = Connection::connector(
            uri,
            runtime,
            async |uri, runtime| {
                let config = OwnedTLSConfig::default();
                let connecting =
                    AMQPUriTcpExt::connect_with_config_async(&uri, config.as_ref(), &runtime);
                let late =
                    || io::Error::new(io::ErrorKind::TimedOut, "no answer to the connection");
                Ok(timeout(TCP_CONNECT, connecting)
                    .await
                    .map_err(|_| late())??)
            },
            properties,
        );
        let connection = connecting.await.map_err(|error| to.explain(&error))?;
        Ok(Amqp {
            connection: Arc::new(connection),
            broker: to.clone(),
            label,
        })
    }

    fn name(&self) -> String {
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

    async fn open(&self, queue: &Queue, prefetch: u16, epoch: u64) -> Result<Consuming, Trouble> {
        let explain = |error: Error| self.explain_open(&error, queue);
        let channel = self.connection.create_channel().await.map_err(explain)?;
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await
            .map_err(explain)?;
        let prefix = queue.consumer_tag_prefix.as_deref().unwrap_or("quorate");
        let tag = short(
            &format!("{prefix}-{}-{epoch}", queue.name),
            "the consumer tag",
        )?;
        let options = BasicConsumeOptions {
            exclusive: self.broker.fence == "exclusive",
            ..Default::default()
        };
        let consumer = channel
            .basic_consume(
                short(&queue.queue, "the queue's name")?,
                tag.clone(),
                options,
                FieldTable::default(),
            )
            .await
            .map_err(explain)?;
        let settler = Hand {
            connection: self.connection.clone(),
            publisher: Arc::default(),
        };
        Ok(Consuming {
            channel,
            consumer,
            tag,
            queue: queue.queue.clone(),
            settler,
        })
    }

    async fn close(self) {
        let _ = self.connection.close(200, "OK".into()).await;
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

/// A consumer on a channel of its own.
pub struct Consuming {
    channel: Channel,
    consumer: Consumer,
    tag: ShortString,
    queue: String,
    settler: Hand,
}

/// A delivery, as the broker knows it.
#[derive(Clone)]
pub struct Token {
    acker: Acker,
    properties: Arc<BasicProperties>,
}

impl Session for Consuming {
    type Token = Token;
    type Settler = Hand;

    fn settler(&self) -> Hand {
        self.settler.clone()
    }

    async fn next(&mut self) -> Result<(Token, Message), Trouble> {
        let queue = &self.queue;
        let mut delivery = match self.consumer.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => {
                return Err(Trouble::new(format!(
                    "the consumer of {queue:?} has ended: {error}"
                )));
            }
            None => {
                return Err(Trouble::new(format!(
                    "the broker has cancelled the consumer of {queue:?}: was the queue deleted, or its node stopped?"
                )));
            }
        };
        let body = Bytes::from(std::mem::take(&mut delivery.data));
        let message = amqp_message::read(&delivery, body);
        let token = Token {
            acker: delivery.acker,
            properties: Arc::new(delivery.properties),
        };
        Ok((token, message))
    }

    async fn cancel(&mut self) -> Result<(), Trouble> {
        let cancelling = self
            .channel
            .basic_cancel(self.tag.clone(), BasicCancelOptions::default());
        match timeout(CANCEL, cancelling).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::new(format!(
                "can't stop consuming {:?}: {error}",
                self.queue
            ))),
            Err(_) => Err(Trouble::new(
                "the broker did not answer to the end of consuming",
            )),
        }
    }

    async fn close(self) {
        let _ = self.channel.close(200, "OK".into()).await;
        if let Some(publisher) = self.settler.publisher.lock().await.take() {
            let _ = publisher.close(200, "OK".into()).await;
        }
    }
}

/// Settles deliveries.
#[derive(Clone)]
pub struct Hand {
    connection: Arc<Connection>,
    /// In confirm mode; opened at the first burial.
    publisher: Arc<Mutex<Option<Channel>>>,
}

/// lapin answers `false` when the channel that the delivery came by is gone.
fn settled(result: Result<bool, Error>) -> Result<(), Trouble> {
    match result {
        Ok(true) => Ok(()),
        Ok(false) => Err(Trouble::passing("the delivery's channel is gone")),
        Err(error) => Err(Trouble::passing(error.to_string())),
    }
}

impl Settler for Hand {
    type Token = Token;

    async fn ack(&self, token: &Token) -> Result<(), Trouble> {
        settled(token.acker.ack(BasicAckOptions::default()).await)
    }

    async fn requeue(&self, token: &Token) -> Result<(), Trouble> {
        settled(
            token
                .acker
                .nack(BasicNackOptions {
                    requeue: true,
                    multiple: false,
                })
                .await,
        )
    }

    async fn reject(&self, token: &Token) -> Result<(), Trouble> {
        settled(
            token
                .acker
                .reject(BasicRejectOptions { requeue: false })
                .await,
        )
    }

    async fn bury(
        &self,
        token: &Token,
        message: &Message,
        queue: &str,
        epitaph: &Epitaph,
    ) -> Result<(), Trouble> {
        let properties = amqp_message::buried(&token.properties, epitaph);
        let routing_key = short(queue, "dead_letter")?;
        let explain = |error: Error| {
            Trouble::new(format!(
                "can't put a message into the dead-letter queue {queue:?}: {error}"
            ))
        };
        let channel = self.publisher().await.map_err(explain)?;
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let confirm = channel
            .basic_publish(
                ShortString::default(),
                routing_key,
                options,
                &message.body,
                properties,
            )
            .await
            .map_err(explain)?;
        match timeout(CONFIRM, confirm).await {
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => {
                Err(Trouble::new(format!(
                    "there is no dead-letter queue {queue:?}: declare it at the broker; the message is kept"
                )))
            }
            Ok(Ok(_)) => Err(Trouble::new(format!(
                "the broker did not take a message into the dead-letter queue {queue:?}"
            ))),
            Ok(Err(error)) => Err(explain(error)),
            Err(_) => Err(Trouble::new(format!(
                "the broker did not confirm within {} s that the dead-letter queue {queue:?} has the message",
                CONFIRM.as_secs()
            ))),
        }
    }
}

impl Hand {
    async fn publisher(&self) -> Result<Channel, Error> {
        let mut publisher = self.publisher.lock().await;
        if let Some(channel) = publisher
            .as_ref()
            .filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let channel = self.connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        *publisher = Some(channel.clone());
        Ok(channel)
    }
}
