//! Consuming, and settling what came.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use quorate_proto::connector::Reply;
use tokio::sync::{mpsc, oneshot};

use super::{
    super::link::{Epitaph, Message, Session, Settler, Trouble},
    orders::{Arrival, Order, Settle},
    pulse::Pulse,
};

/// A queue that is open for exclusive input.
pub struct Consuming {
    pub(super) hand: Hand,
    pub(super) messages: mpsc::Receiver<Arrival>,
    /// A message has been asked for that has yet to come.
    pub(super) asked: bool,
}

/// Gives orders to the connection's thread.
#[derive(Clone)]
pub struct Hand {
    pub(super) orders: SyncSender<Order>,
    pub(super) pulse: Arc<Pulse>,
}

impl Hand {
    /// Gives one, and waits for its answer; the trouble when the connection is lost.
    pub async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, Trouble> {
        let (answer, answered) = oneshot::channel();
        self.give(order(answer))?;
        tokio::select! {
            biased;
            answer = answered => match answer {
                Ok(answer) => Ok(answer),
                Err(_) => Err(self.gone()),
            },
            trouble = self.pulse.end() => Err(trouble),
        }
    }

    /// Gives one that has no answer.
    pub fn give(&self, order: Order) -> Result<(), Trouble> {
        self.orders.try_send(order).map_err(|_| self.gone())
    }

    fn gone(&self) -> Trouble {
        let ended = || Trouble::passing("the connection to the queue manager has ended");
        self.pulse.lost().unwrap_or_else(ended)
    }

    async fn settle(&self, token: u64, how: Settle) -> Result<(), Trouble> {
        self.ask(|answer| Order::Settle { token, how, answer })
            .await?
    }
}

impl Session for Consuming {
    const RETRIED_BY_BROKER: bool = true;

    type Token = u64;
    type Settler = Hand;

    fn settler(&self) -> Hand {
        self.hand.clone()
    }

    async fn next(&mut self) -> Result<(u64, Message), Trouble> {
        if !self.asked {
            self.hand.give(Order::Next)?;
            self.asked = true;
        }
        tokio::select! {
            biased;
            arrival = self.messages.recv() => {
                self.asked = false;
                arrival.unwrap_or_else(|| Err(self.hand.gone()))
            }
            trouble = self.hand.pulse.end() => Err(trouble),
        }
    }

    async fn cancel(&mut self) -> Result<(), Trouble> {
        self.hand.ask(|answer| Order::Cancel { answer }).await
    }

    async fn close(self) {
        let _ = self.hand.ask(|answer| Order::Close { answer }).await;
    }
}

/// A session that is not closed in order gives its message back all the same.
impl Drop for Consuming {
    fn drop(&mut self) {
        let (answer, _) = oneshot::channel();
        let _ = self.hand.give(Order::Close { answer });
    }
}

impl Settler for Hand {
    type Token = u64;

    async fn ack(&self, token: &u64, _: &Reply) -> Result<(), Trouble> {
        self.settle(*token, Settle::Commit).await
    }

    async fn requeue(&self, token: &u64, wait: Duration) -> Result<(), Trouble> {
        self.settle(*token, Settle::BackOut(wait)).await
    }

    async fn reject(&self, token: &u64, epitaph: &Epitaph) -> Result<(), Trouble> {
        self.settle(*token, Settle::Reject(epitaph.clone())).await
    }

    async fn bury(
        &self,
        token: &u64,
        _: &Message,
        queue: &str,
        epitaph: &Epitaph,
    ) -> Result<(), Trouble> {
        let how = Settle::Bury {
            queue: queue.to_owned(),
            epitaph: epitaph.clone(),
        };
        self.settle(*token, how).await
    }
}
