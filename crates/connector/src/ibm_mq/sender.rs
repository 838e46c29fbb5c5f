//! Sending.
//!
//! A message is put outside of any unit of work: when MQPUT has answered, it is on the
//! queue, and if it is persistent, in the queue manager's log. An answer that is lost with the
//! connection says neither that it is there nor that it is not.

use std::sync::Arc;

use libmqm_sys as mq;
use quorate_ipc::Sent;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    super::link::{Parcel, Sender},
    fields::id,
    orders::{Begun, Order, Put},
    parcel,
    reasons::{Failure, Kind},
    session::Hand,
    settings::{Manager, Target},
};

/// Messages that wait for the connection's thread. More of them wait outside.
const WAITING: usize = 64;

/// A queue that is open for output.
#[derive(Clone)]
pub struct Putting {
    hand: Hand,
    manager: Manager,
    target: Target,
    room: Arc<Semaphore>,
}

impl Putting {
    /// To this queue, which the connection's thread has open.
    pub(super) fn new(hand: Hand, manager: Manager, target: Target) -> Self {
        Putting {
            hand,
            manager,
            target,
            room: Arc::new(Semaphore::new(WAITING)),
        }
    }

    fn failed(&self, failure: Failure, queue: &str) -> Sent {
        let text = failure.text(&self.manager, queue);
        match failure.kind() {
            // It said that it takes nothing: before it took this.
            Kind::Lost if failure.quiescing() => Sent::NotSent(text),
            Kind::Lost => Sent::Unknown(text),
            Kind::Passing => Sent::NotSent(text),
            Kind::Lasting if failure.reason == mq::MQRC_BACKED_OUT => Sent::NotSent(text),
            Kind::Lasting => Sent::Refused(text),
        }
    }
}

impl Sender for Putting {
    async fn send(&self, parcel: &Parcel) -> Sent {
        let ready = match parcel::ready(parcel, &self.target) {
            Ok(ready) => ready,
            Err(text) => return Sent::Refused(text),
        };
        let queue = match &ready.to {
            Some(to) => to.queue.clone(),
            None => self.target.queue.clone(),
        };
        let begun = Arc::new(Begun::default());
        let put = Box::new(Put {
            ready,
            begun: begun.clone(),
        });
        let sending = async {
            let _room = self.room.acquire().await;
            self.hand.ask(|answer| Order::Put { put, answer }).await
        };
        let (unsent, text) = match timeout(parcel.within, sending).await {
            Ok(Ok(Ok(id_bytes))) => {
                return Sent::Confirmed {
                    message_id: id(&id_bytes),
                    reply: None,
                };
            }
            Ok(Ok(Err(failure))) => return self.failed(failure, &queue),
            Ok(Err(trouble)) => (begun.give_up(), trouble.text),
            Err(_) => (
                begun.give_up(),
                "the queue manager did not take it in time".to_owned(),
            ),
        };
        if unsent {
            Sent::NotSent(text)
        } else {
            Sent::Unknown(text)
        }
    }

    async fn close(self) {
        // What waits is put or given up by whoever waits for it.
        let _ = self
            .room
            .acquire_many(u32::try_from(WAITING).unwrap_or(u32::MAX))
            .await;
    }
}
