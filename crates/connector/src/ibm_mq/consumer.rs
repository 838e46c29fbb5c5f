//! Consumer of a queue, and settling of its messages.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use quorate_proto::connector::Reply;
use tokio::sync::{mpsc, oneshot};

use super::{
    super::broker_link::{
        ConnectorError, ConsumerSession, DeadLetterInfo, IncomingMessage, MessageAcknowledger,
    },
    call_watchdog::CallWatchdog,
    commands::{MqArrival, MqCommand, MqSettlement},
};

/// Queue that is open for exclusive input.
pub(crate) struct MqConsumer {
    pub(super) commands: MqCommandSender,
    pub(super) messages: mpsc::Receiver<MqArrival>,
    /// True while a requested message has yet to come.
    pub(super) asked: bool,
}

/// Sender of commands to the connection's thread.
#[derive(Clone)]
pub(crate) struct MqCommandSender {
    pub(super) commands: SyncSender<MqCommand>,
    pub(super) watchdog: Arc<CallWatchdog>,
}

impl MqCommandSender {
    /// Sends a command and waits for its answer; fails when the connection is lost.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> MqCommand,
    ) -> Result<T, ConnectorError> {
        let (answer, answered) = oneshot::channel();
        self.send(command(answer))?;
        tokio::select! {
            biased;
            answer = answered => match answer {
                Ok(answer) => Ok(answer),
                Err(_) => Err(self.gone()),
            },
            error = self.watchdog.wait_lost() => Err(error),
        }
    }

    /// Sends a command that has no answer.
    pub(crate) fn send(&self, command: MqCommand) -> Result<(), ConnectorError> {
        self.commands.try_send(command).map_err(|_| self.gone())
    }

    fn gone(&self) -> ConnectorError {
        let ended = || ConnectorError::transient("the connection to the queue manager has ended");
        self.watchdog.lost().unwrap_or_else(ended)
    }

    async fn settle(&self, token: u64, how: MqSettlement) -> Result<(), ConnectorError> {
        self.ask(|answer| MqCommand::Settle { token, how, answer })
            .await?
    }
}

impl ConsumerSession for MqConsumer {
    const RETRIED_BY_BROKER: bool = true;

    type Token = u64;
    type Acknowledger = MqCommandSender;

    fn acknowledger(&self) -> MqCommandSender {
        self.commands.clone()
    }

    async fn next(&mut self) -> Result<(u64, IncomingMessage), ConnectorError> {
        if !self.asked {
            self.commands.send(MqCommand::Next)?;
            self.asked = true;
        }
        tokio::select! {
            biased;
            arrival = self.messages.recv() => {
                self.asked = false;
                arrival.unwrap_or_else(|| Err(self.commands.gone()))
            }
            error = self.commands.watchdog.wait_lost() => Err(error),
        }
    }

    async fn cancel(&mut self) -> Result<(), ConnectorError> {
        self.commands
            .ask(|answer| MqCommand::Cancel { answer })
            .await
    }

    async fn close(self) {
        let _ = self
            .commands
            .ask(|answer| MqCommand::Close { answer })
            .await;
    }
}

/// A session that is not closed in order gives its message back all the same.
impl Drop for MqConsumer {
    fn drop(&mut self) {
        let (answer, _) = oneshot::channel();
        let _ = self.commands.send(MqCommand::Close { answer });
    }
}

impl MessageAcknowledger for MqCommandSender {
    type Token = u64;

    async fn ack(&self, token: &u64, _: &Reply) -> Result<(), ConnectorError> {
        self.settle(*token, MqSettlement::Commit).await
    }

    async fn requeue(&self, token: &u64, wait: Duration) -> Result<(), ConnectorError> {
        self.settle(*token, MqSettlement::BackOut(wait)).await
    }

    async fn reject(&self, token: &u64, info: &DeadLetterInfo) -> Result<(), ConnectorError> {
        self.settle(*token, MqSettlement::Reject(info.clone()))
            .await
    }

    async fn dead_letter(
        &self,
        token: &u64,
        _: &IncomingMessage,
        queue: &str,
        info: &DeadLetterInfo,
    ) -> Result<(), ConnectorError> {
        let how = MqSettlement::DeadLetter {
            queue: queue.to_owned(),
            info: info.clone(),
        };
        self.settle(*token, how).await
    }
}
