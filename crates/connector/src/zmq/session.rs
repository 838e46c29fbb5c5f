//! A channel's socket as the run loop sees it.

use std::time::Duration;

use bytes::Bytes;
use quorate_log::RateLimit;
use quorate_proto::connector::Reply;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::{
    super::link::{Epitaph, Message, Session, Settler, Trouble},
    answer,
    inlet::{self, Incoming, Inlet, Kind, Order, Source, Token},
    worker::{self, Desk, Worker},
};

/// A socket that messages come in by.
pub struct Receiving {
    incoming: mpsc::Receiver<Incoming>,
    settler: Hand,
    worker: Worker,
}

impl Receiving {
    /// Opens it.
    pub async fn open(source: &Source, prefetch: u16) -> Result<Receiving, Trouble> {
        let kind = source.socket_type;
        let (out, incoming) = mpsc::channel(usize::from(prefetch.max(1)) + 1);
        let source = source.clone();
        let (desk, worker) = worker::start(
            move || inlet::open(&source, prefetch),
            move |socket, inside| Inlet::new(kind, prefetch, socket, inside, out).run(),
        )
        .await?;
        Ok(Receiving {
            incoming,
            settler: Hand { kind, desk },
            worker,
        })
    }
}

impl Session for Receiving {
    type Token = Token;
    type Settler = Hand;

    fn settler(&self) -> Hand {
        self.settler.clone()
    }

    async fn next(&mut self) -> Result<(Token, Message), Trouble> {
        let ended = || {
            Err(Trouble::new(
                "the thread of the ZeroMQ socket has ended; another is started",
            ))
        };
        self.incoming.recv().await.unwrap_or_else(ended)
    }

    async fn cancel(&mut self) -> Result<(), Trouble> {
        // A thread that has ended takes no messages either.
        self.settler.desk.give(Order::Cancel).await;
        Ok(())
    }

    async fn close(self) {
        self.worker.end().await;
    }
}

/// Each message that is lost may bring a line about.
static LOST: RateLimit = RateLimit::each_second();

/// Settles messages.
#[derive(Clone)]
pub struct Hand {
    kind: Kind,
    desk: Desk<Order>,
}

impl Settler for Hand {
    type Token = Token;

    async fn ack(&self, token: &Token, reply: &Reply) -> Result<(), Trouble> {
        match self.kind {
            Kind::Pull | Kind::Sub => Ok(()),
            Kind::Rep => self.answer(token, vec![reply.body.clone()]).await,
            Kind::Router => self.answer(token, answer::acked(&token.id)).await,
        }
    }

    async fn requeue(&self, token: &Token, _wait: Duration) -> Result<(), Trouble> {
        match self.kind {
            Kind::Pull | Kind::Sub => {
                if let Some(left_out) = LOST.due("refused") {
                    warn!(
                        left_out,
                        "a message was refused for its epoch, and ZeroMQ can't give it back: it is lost"
                    );
                }
                Ok(())
            }
            Kind::Rep => {
                let details = "the request came under an epoch that is over: send it again";
                self.answer(token, vec![answer::error("", details)]).await
            }
            // Without an ack the peer sends it again.
            Kind::Router => Ok(()),
        }
    }

    async fn reject(&self, token: &Token, epitaph: &Epitaph) -> Result<(), Trouble> {
        let Epitaph {
            reason,
            attempts,
            cid,
            ..
        } = epitaph;
        match self.kind {
            Kind::Pull | Kind::Sub => {
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
            Kind::Rep => self.answer(token, vec![answer::error(cid, reason)]).await,
            Kind::Router => self.answer(token, answer::refused(&token.id, reason)).await,
        }
    }

    async fn bury(
        &self,
        _token: &Token,
        _message: &Message,
        queue: &str,
        _epitaph: &Epitaph,
    ) -> Result<(), Trouble> {
        Err(Trouble::new(format!(
            "ZeroMQ has no queues, so there is no dead-letter queue {queue:?}: leave `dead_letter` out of the channel's on_failure"
        )))
    }
}

impl Hand {
    async fn answer(&self, token: &Token, payload: Vec<Bytes>) -> Result<(), Trouble> {
        let (done, answered) = oneshot::channel();
        let frames = answer::to(&token.route, payload);
        let gone = || Trouble::passing("the socket was closed before the answer");
        if !self.desk.give(Order::Answer { frames, done }).await {
            return Err(gone());
        }
        answered.await.map_err(|_| gone())?
    }
}
