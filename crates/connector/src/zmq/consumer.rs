//! Consumer of a channel's socket, as the run loop sees it.

use std::time::Duration;

use bytes::Bytes;
use quorate_log::RateLimit;
use quorate_proto::connector::Reply;
use quorate_resources::{ZmqChannel, ZmqChannelSocket};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::{
    super::broker_link::{
        ConnectorError, ConsumerSession, DeadLetterInfo, IncomingMessage, MessageAcknowledger,
    },
    receive_loop::{self, ZmqArrival, ZmqCommand, ZmqDeliveryToken, ZmqReceiveLoop},
    reply_frames,
    worker::{self, ZmqCommandSender, ZmqWorker},
};

/// Socket that messages come in by.
pub(crate) struct ZmqConsumer {
    incoming: mpsc::Receiver<ZmqArrival>,
    acknowledger: ZmqAcknowledger,
    worker: ZmqWorker,
}

impl ZmqConsumer {
    /// Opens the socket on a thread of its own.
    pub(crate) async fn open(
        source: &ZmqChannel,
        prefetch: u16,
    ) -> Result<ZmqConsumer, ConnectorError> {
        let kind = source.socket_type;
        let (out, incoming) = mpsc::channel(usize::from(prefetch.max(1)) + 1);
        let source = source.clone();
        let (commands, worker) = worker::start(
            move || receive_loop::open(&source, prefetch),
            move |socket, context| ZmqReceiveLoop::new(kind, prefetch, socket, context, out).run(),
        )
        .await?;
        Ok(ZmqConsumer {
            incoming,
            acknowledger: ZmqAcknowledger { kind, commands },
            worker,
        })
    }
}

impl ConsumerSession for ZmqConsumer {
    type Token = ZmqDeliveryToken;
    type Acknowledger = ZmqAcknowledger;

    fn acknowledger(&self) -> ZmqAcknowledger {
        self.acknowledger.clone()
    }

    async fn next(&mut self) -> Result<(ZmqDeliveryToken, IncomingMessage), ConnectorError> {
        let ended = || {
            Err(ConnectorError::new(
                "the thread of the ZeroMQ socket has ended; another is started",
            ))
        };
        self.incoming.recv().await.unwrap_or_else(ended)
    }

    async fn cancel(&mut self) -> Result<(), ConnectorError> {
        // A thread that has ended takes no messages either.
        self.acknowledger.commands.send(ZmqCommand::Cancel).await;
        Ok(())
    }

    async fn close(self) {
        self.worker.end().await;
    }
}

/// Limit for a log line that each lost message may cause.
static LOST: RateLimit = RateLimit::each_second();

/// Handle that settles messages.
#[derive(Clone)]
pub(crate) struct ZmqAcknowledger {
    kind: ZmqChannelSocket,
    commands: ZmqCommandSender<ZmqCommand>,
}

impl MessageAcknowledger for ZmqAcknowledger {
    type Token = ZmqDeliveryToken;

    async fn ack(&self, token: &ZmqDeliveryToken, reply: &Reply) -> Result<(), ConnectorError> {
        match self.kind {
            ZmqChannelSocket::Pull | ZmqChannelSocket::Sub => Ok(()),
            ZmqChannelSocket::Rep => self.answer(token, vec![reply.body.clone()]).await,
            ZmqChannelSocket::Router => self.answer(token, reply_frames::acked(&token.id)).await,
        }
    }

    async fn requeue(
        &self,
        token: &ZmqDeliveryToken,
        _wait: Duration,
    ) -> Result<(), ConnectorError> {
        match self.kind {
            ZmqChannelSocket::Pull | ZmqChannelSocket::Sub => {
                if let Some(left_out) = LOST.due("refused") {
                    warn!(
                        left_out,
                        "a message was refused for its epoch, and ZeroMQ can't give it back: it is lost"
                    );
                }
                Ok(())
            }
            ZmqChannelSocket::Rep => {
                let details = "the request came under an epoch that is over: send it again";
                self.answer(token, vec![reply_frames::error("", details)])
                    .await
            }
            // Without an ack the peer sends it again.
            ZmqChannelSocket::Router => Ok(()),
        }
    }

    async fn reject(
        &self,
        token: &ZmqDeliveryToken,
        info: &DeadLetterInfo,
    ) -> Result<(), ConnectorError> {
        let DeadLetterInfo {
            reason,
            attempts,
            cid,
            ..
        } = info;
        match self.kind {
            ZmqChannelSocket::Pull | ZmqChannelSocket::Sub => {
                if let Some(left_out) = LOST.due("given up") {
                    warn!(
                        cid,
                        attempts,
                        reason,
                        left_out,
                        "a message was given up, and ZeroMQ has no place for it: it is lost"
                    );
                }
                Ok(())
            }
            ZmqChannelSocket::Rep => {
                self.answer(token, vec![reply_frames::error(cid, reason)])
                    .await
            }
            ZmqChannelSocket::Router => {
                self.answer(token, reply_frames::refused(&token.id, reason))
                    .await
            }
        }
    }

    async fn dead_letter(
        &self,
        _token: &ZmqDeliveryToken,
        _message: &IncomingMessage,
        queue: &str,
        _epitaph: &DeadLetterInfo,
    ) -> Result<(), ConnectorError> {
        Err(ConnectorError::new(format!(
            "ZeroMQ has no queues, so there is no dead-letter queue {queue:?}: leave `dead_letter` out of the channel's on_failure"
        )))
    }
}

impl ZmqAcknowledger {
    async fn answer(
        &self,
        token: &ZmqDeliveryToken,
        payload: Vec<Bytes>,
    ) -> Result<(), ConnectorError> {
        let (done, answered) = oneshot::channel();
        let frames = reply_frames::to(&token.route, payload);
        let gone = || ConnectorError::transient("the socket was closed before the answer");
        if !self
            .commands
            .send(ZmqCommand::Answer { frames, done })
            .await
        {
            return Err(gone());
        }
        answered.await.map_err(|_| gone())?
    }
}
