//! Client of RabbitMQ that declares, publishes and counts.

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
    message::BasicGetMessage,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

/// Declares, publishes, counts.
pub struct BrokerClient {
    connection: Connection,
    channel: Channel,
}

impl BrokerClient {
    /// Connects.
    pub async fn connect(uri: &str) -> BrokerClient {
        let connection = Connection::connect(uri, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        BrokerClient {
            connection,
            channel,
        }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Declares a durable queue.
    pub async fn declare(&self, queue: &str) {
        self.declare_with(queue, &[]).await;
    }

    /// Declares a durable queue with arguments (`x-dead-letter-exchange` and the like).
    pub async fn declare_with(&self, queue: &str, arguments: &[(&str, &str)]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        self.channel
            .queue_declare(queue.into(), QueueDeclareOptions::durable(), table)
            .await
            .unwrap();
    }

    /// Publishes persistent messages with these bodies; returns when the broker has them.
    pub async fn publish(&self, queue: &str, bodies: impl IntoIterator<Item = String>) {
        self.publish_with(queue, bodies, BasicProperties::default())
            .await;
    }

    /// Publishes one; whether a queue took it.
    pub async fn try_publish(&self, queue: &str, body: &str) -> bool {
        let confirm = self.send(queue, body, BasicProperties::default()).await;
        confirm.await.unwrap() == Confirmation::Ack(None)
    }

    /// As `publish`, with these properties.
    pub async fn publish_with(
        &self,
        queue: &str,
        bodies: impl IntoIterator<Item = String>,
        properties: BasicProperties,
    ) {
        let mut confirms = Vec::new();
        for body in bodies {
            confirms.push(self.send(queue, &body, properties.clone()).await);
        }
        for confirm in confirms {
            assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None));
        }
    }

    /// Sends a persistent message; the broker's word on it follows.
    async fn send(&self, queue: &str, body: &str, properties: BasicProperties) -> PublisherConfirm {
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let (body, properties) = (body.as_bytes(), properties.with_delivery_mode(2));
        let sent = self
            .channel
            .basic_publish("".into(), queue.into(), options, body, properties);
        sent.await.unwrap()
    }

    /// Messages that are ready, and consumers.
    pub async fn count(&self, queue: &str) -> (u32, u32) {
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let queue = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await
            .unwrap();
        (queue.message_count(), queue.consumer_count())
    }

    /// Takes one message out.
    pub async fn take(&self, queue: &str) -> Option<BasicGetMessage> {
        let message = self
            .channel
            .basic_get(queue.into(), BasicGetOptions::default())
            .await
            .unwrap()?;
        message.acker.ack(BasicAckOptions::default()).await.unwrap();
        Some(message)
    }

    /// Deletes a queue.
    pub async fn delete(&self, queue: &str) {
        self.channel
            .queue_delete(queue.into(), Default::default())
            .await
            .unwrap();
    }
}
