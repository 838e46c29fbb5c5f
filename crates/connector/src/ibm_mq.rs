//! IBM MQ over its own client library, which is loaded when it is needed.
//!
//! A connection belongs to one thread, which does as it is told ([`orders`]). MQ's own
//! reconnecting stays off: it would come back in silence, past a lost lease.

mod burial;
mod charset;
mod conversion;
mod ebcdic;
mod fields;
mod library;
mod message;
mod orders;
mod parcel;
mod pulse;
mod put_time;
mod reading;
mod reasons;
mod sender;
mod session;
mod settings;
mod verbs;
mod worker;

use std::sync::{Arc, mpsc::sync_channel};

use tokio::sync::{mpsc, oneshot};

use self::{
    orders::{Order, WAITING},
    pulse::Pulse,
    sender::Putting,
    session::{Consuming, Hand},
    settings::{Manager, Source, Target},
};
use super::link::{Inlet, Link, Outlet, Trouble};

/// A connection to a queue manager.
pub struct IbmMq {
    hand: Hand,
    manager: Manager,
    name: String,
    label: String,
    /// The thread has ended, and disconnected.
    ended: oneshot::Receiver<()>,
}

impl Link for IbmMq {
    type Connection = Manager;

    async fn connect(to: &Manager, label: &str) -> Result<Self, Trouble> {
        let pulse = Arc::new(Pulse::new());
        let (orders, taken) = sync_channel(WAITING);
        let (connected, connecting) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (manager, name) = (to.clone(), label.to_owned());
        worker::start(manager, name, taken, pulse.clone(), connected, end)?;
        let early = |_| Trouble::new("the connection's thread has ended before it was connected");
        let id = connecting.await.map_err(early)??;
        Ok(IbmMq {
            hand: Hand { orders, pulse },
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

    async fn lost(&self) -> Trouble {
        self.hand.pulse.end().await
    }

    fn is_lost(&self) -> bool {
        self.hand.pulse.lost().is_some()
    }

    async fn close(self) {
        if self.hand.give(Order::End).is_ok() {
            let _ = self.ended.await;
        }
    }
}

impl Inlet for IbmMq {
    type Source = Source;
    type Session = Consuming;

    /// One message at a time, whatever the prefetch: a connection has one unit of work.
    async fn open(
        &self,
        source: &Source,
        _: u16,
        _: Option<u64>,
        _: Option<u64>,
    ) -> Result<Consuming, Trouble> {
        let (sender, messages) = mpsc::channel(1);
        let opened = self.hand.ask(|answer| Order::Open {
            queue: source.queue.clone(),
            jms: source.jms,
            messages: sender,
            answer,
        });
        opened.await??;
        Ok(Consuming {
            hand: self.hand.clone(),
            messages,
            asked: false,
        })
    }

    fn name_of(&self, source: &Source) -> String {
        source.queue.clone()
    }

    async fn taken(&self, source: &Source) -> Option<bool> {
        let queue = source.queue.clone();
        let asking = self.hand.ask(|answer| Order::Readers { queue, answer });
        asking.await.ok()?.map(|readers| readers > 0)
    }

    async fn waiting(&self, source: &Source) -> Option<u64> {
        let queue = source.queue.clone();
        let asking = self.hand.ask(|answer| Order::Depth { queue, answer });
        asking.await.ok()?
    }
}

impl Outlet for IbmMq {
    type Target = Target;
    type Sender = Putting;

    async fn open(&self, target: &Target) -> Result<Putting, Trouble> {
        let queue = target.queue.clone();
        self.hand
            .ask(|answer| Order::Target { queue, answer })
            .await??;
        Ok(Putting::new(
            self.hand.clone(),
            self.manager.clone(),
            target.clone(),
        ))
    }
}
