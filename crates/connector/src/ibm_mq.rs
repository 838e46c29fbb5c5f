//! IBM MQ over its own client library, which is loaded when the first connection needs it.
//!
//! A connection belongs to one thread, which executes [`commands`]. MQ's own reconnecting stays
//! off: it would come back in silence, past a lost lease.

mod call_watchdog;
mod charset;
mod commands;
mod consumer;
mod conversion;
mod dead_letter;
mod ebcdic;
mod fixed_fields;
mod library;
mod message;
mod message_headers;
mod mqi_connection;
mod outgoing_message;
mod producer;
mod put_time;
mod queue_reader;
mod reason_codes;
mod worker;

use std::sync::{Arc, mpsc::sync_channel};

use quorate_resources::{IbmMqChannel, IbmMqConnection, IbmMqOutgoing};
use tokio::sync::{mpsc, oneshot};

use self::{
    call_watchdog::CallWatchdog,
    commands::{MqCommand, WAITING},
    consumer::{MqCommandSender, MqConsumer},
    producer::MqProducer,
};
use super::broker_link::{BrokerLink, ConnectorError, InboundLink, OutboundLink};

pub(crate) struct MqLink {
    commands: MqCommandSender,
    manager: IbmMqConnection,
    name: String,
    label: String,
    /// Resolves once the thread has ended and disconnected.
    ended: oneshot::Receiver<()>,
}

impl BrokerLink for MqLink {
    type Connection = IbmMqConnection;

    fn connection_key(of: &IbmMqConnection) -> impl PartialEq {
        IbmMqConnection {
            name: String::new(),
            ..of.clone()
        }
    }

    async fn connect(to: &IbmMqConnection, label: &str) -> Result<Self, ConnectorError> {
        let watchdog = Arc::new(CallWatchdog::new());
        let (commands, queue) = sync_channel(WAITING);
        let (connected, connecting) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (manager, name) = (to.clone(), label.to_owned());
        worker::start(manager, name, queue, watchdog.clone(), connected, end)?;
        let early =
            |_| ConnectorError::new("the connection's thread has ended before it was connected");
        let id = connecting.await.map_err(early)??;
        Ok(MqLink {
            commands: MqCommandSender { commands, watchdog },
            manager: to.clone(),
            name: id.iter().map(|byte| format!("{byte:02X}")).collect(),
            label: label.to_owned(),
            ended,
        })
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn label(&self) -> String {
        self.label.clone()
    }

    async fn wait_lost(&self) -> ConnectorError {
        self.commands.watchdog.wait_lost().await
    }

    fn is_lost(&self) -> bool {
        self.commands.watchdog.lost().is_some()
    }

    async fn close(self) {
        if self.commands.send(MqCommand::Disconnect).is_ok() {
            let _ = self.ended.await;
        }
    }
}

impl InboundLink for MqLink {
    type Source = IbmMqChannel;
    type Session = MqConsumer;

    fn session_key(of: &IbmMqChannel) -> impl PartialEq {
        (&of.queue, of.jms)
    }

    /// Opens the queue for one message at a time, whatever the prefetch: a connection has one unit
    /// of work.
    async fn open(
        &self,
        source: &IbmMqChannel,
        _: u16,
        _: Option<u64>,
        _: Option<u64>,
    ) -> Result<MqConsumer, ConnectorError> {
        let (sender, messages) = mpsc::channel(1);
        let opened = self.commands.ask(|answer| MqCommand::Open {
            queue: source.queue.clone(),
            jms: source.jms,
            messages: sender,
            answer,
        });
        opened.await??;
        Ok(MqConsumer {
            commands: self.commands.clone(),
            messages,
            asked: false,
        })
    }

    fn source_name(&self, source: &IbmMqChannel) -> String {
        source.queue.clone()
    }

    async fn is_taken(&self, source: &IbmMqChannel) -> Option<bool> {
        let queue = source.queue.clone();
        let asking = self
            .commands
            .ask(|answer| MqCommand::CountReaders { queue, answer });
        asking.await.ok()?.map(|readers| readers > 0)
    }

    async fn waiting_count(&self, source: &IbmMqChannel) -> Option<u64> {
        let queue = source.queue.clone();
        let asking = self
            .commands
            .ask(|answer| MqCommand::QueryDepth { queue, answer });
        asking.await.ok()?
    }
}

impl OutboundLink for MqLink {
    type Target = IbmMqOutgoing;
    type Producer = MqProducer;

    fn session_key(of: &IbmMqOutgoing) -> impl PartialEq {
        IbmMqOutgoing {
            connection: String::new(),
            active: true,
            ..of.clone()
        }
    }

    async fn open(&self, target: &IbmMqOutgoing) -> Result<MqProducer, ConnectorError> {
        let queue = target.queue.clone();
        self.commands
            .ask(|answer| MqCommand::OpenTarget { queue, answer })
            .await??;
        Ok(MqProducer::new(
            self.commands.clone(),
            self.manager.clone(),
            target.clone(),
        ))
    }
}
