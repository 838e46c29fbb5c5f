//! One session of an outgoing: messages from the parent out, outcomes back.
//!
//! The lease is asked for before each send; while it has lapsed and may be renewed, nothing
//! is begun. Every message that the parent has handed over gets exactly one outcome while the
//! process lives: when the session ends, those under way are unknown and those not yet begun
//! were not sent.

use std::{collections::BTreeSet, marker::PhantomData, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quorate_clock::Instant;
use quorate_ipc::{Sent, lease::Tenure};
use quorate_proto::connector::{self as proto, Confirmed, from_process::Frame, sent::Outcome};
use serde::Deserialize;
use tokio::time::{sleep_until, timeout};

use super::{
    link::{Outlet, Parcel, Sender, Trouble},
    progress::ProgressTracker,
    role::{DRAIN, Role, Served, Settings},
    wires::{LOOK, Order, Reign, Wires},
};

/// How long closing may take while messages are under way.
const CLOSING: Duration = Duration::from_secs(1);

/// How much longer than it should a sender may take for its word.
const SLACK: Duration = Duration::from_millis(20);

/// What means the same for every kind of outgoing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Common {
    /// Most messages whose outcome is awaited.
    pub prefetch: u16,
}

/// An outgoing: sends.
pub struct Outbound<L>(PhantomData<L>);

impl<L: Outlet> Role for Outbound<L> {
    type Link = L;
    type Own = L::Target;
    type Common = Common;
    type Session = L::Sender;

    fn same_session(_: &Settings<Self>, _: &Settings<Self>) -> bool {
        true
    }

    fn progress_of(_: &L, _: &Settings<Self>) -> String {
        String::new()
    }

    async fn open(
        link: &L,
        settings: &Settings<Self>,
        _: Option<u64>,
        _: &ProgressTracker,
    ) -> Result<L::Sender, Trouble> {
        link.open(&settings.own).await
    }

    async fn serve(
        wires: &mut Wires,
        link: &L,
        session: L::Sender,
        settings: Settings<Self>,
        reign: Reign,
    ) -> Served<L::Sender> {
        let mut sending = Sending {
            wires,
            link,
            sender: session,
            settings,
            reign,
            under_way: BTreeSet::new(),
            acts: FuturesUnordered::new(),
            drain: None,
            still: None,
        };
        let worked = sending.work().await;
        sending.settle_rest(&worked).await;
        match worked {
            Ok(()) => Served::Drained(sending.sender),
            Err(trouble) => Served::Ended(trouble),
        }
    }

    async fn taken(_: &L, _: &Settings<Self>) -> Option<bool> {
        None
    }

    async fn close(session: L::Sender) {
        session.close().await;
    }
}

/// A session at work.
struct Sending<'a, L: Outlet> {
    wires: &'a mut Wires,
    link: &'a L,
    sender: L::Sender,
    settings: Settings<Outbound<L>>,
    reign: Reign,
    under_way: BTreeSet<u64>,
    acts: FuturesUnordered<BoxFuture<'static, (u64, Sent)>>,
    /// Set once the session is to end: when it does at the latest.
    drain: Option<Instant>,
    /// Set while it stands still because the lease has lapsed: when to look again.
    still: Option<Instant>,
}

impl<L: Outlet> Sending<'_, L> {
    async fn work(&mut self) -> Result<(), Trouble> {
        // What was ordered since the session was asked for.
        self.reconsider();
        // And what became of the lease since then.
        self.look();
        let stopped = self.wires.watchdog.stopped.clone();
        let link = self.link;
        let lost = link.lost();
        tokio::pin!(lost);
        loop {
            self.wires.out.tally.lock().in_flight = self.acts.len() as u64;
            if let Some(deadline) = self.drain
                && (self.acts.is_empty() || Instant::now() >= deadline)
            {
                return Ok(());
            }
            let places = usize::from(self.settings.common.prefetch);
            let until = [self.drain, self.still].into_iter().flatten().min();
            tokio::select! {
                Ok(()) = self.wires.desired.changed() => self.reconsider(),
                Some((id, sent)) = self.acts.next(), if !self.acts.is_empty() => {
                    self.under_way.remove(&id);
                    self.tell(id, sent).await;
                }
                Some(order) = self.wires.sends.recv(), if self.drain.is_none() && self.still.is_none() && self.acts.len() < places => {
                    self.begin(order).await;
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    if self.still.is_some_and(|at| Instant::now() >= at) {
                        self.look();
                    }
                }
                trouble = &mut lost => return Err(trouble),
                () = stopped.notified() => self.look(),
            }
        }
    }

    /// Compares what is wanted with what is being done.
    fn reconsider(&mut self) {
        let desired = self.wires.desired.borrow_and_update().clone();
        let settings = desired.configure.as_deref().map(Settings::read);
        match settings {
            Some(Ok(settings))
                if desired.act == Some(self.reign) && self.settings.same_session(&settings) =>
            {
                self.settings = settings;
            }
            _ => self.wind_up(desired.drain),
        }
    }

    /// Begins nothing new; what is under way may finish until then.
    fn wind_up(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        self.drain = Some(self.drain.map_or(deadline, |earlier| earlier.min(deadline)));
        self.wires.watchdog.disarm();
    }

    /// Looks at the page: goes on, stands still, or winds up.
    fn look(&mut self) {
        self.still = None;
        if self.drain.is_some() {
            return;
        }
        match self.wires.tenure(self.reign.epoch) {
            Tenure::Runs(_) => {}
            Tenure::Lapsed(..) => self.still = Some(Instant::now() + LOOK),
            Tenure::Over => self.wind_up(DRAIN),
        }
    }

    /// Sends a message, if the lease lets it and somebody still waits for it.
    async fn begin(&mut self, order: Order) {
        let id = order.send.send;
        let left = order.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return self.tell(id, late()).await;
        }
        if !self.wires.lease.holds(self.reign.epoch) {
            self.look();
            return self.tell(id, over()).await;
        }
        let proto::Send {
            message_id,
            content_type,
            headers,
            properties,
            body,
            cid,
            types,
            ..
        } = order.send;
        let parcel = Parcel {
            message_id,
            content_type,
            headers,
            types,
            properties,
            body,
            cid,
            within: left,
        };
        let sender = self.sender.clone();
        self.under_way.insert(id);
        let sending = async move {
            // The sender keeps the time itself, and knows better how far it came.
            let sent = timeout(parcel.within + SLACK, sender.send(&parcel)).await;
            (id, sent.unwrap_or_else(|_| unanswered()))
        };
        self.acts.push(sending.boxed());
    }

    /// Gives those that are left their outcome.
    async fn settle_rest(&mut self, worked: &Result<(), Trouble>) {
        // Closing it tells those that have not begun.
        if worked.is_ok() && !self.acts.is_empty() {
            let _ = timeout(CLOSING, self.sender.clone().close()).await;
        }
        // What has come to an end by now has its own.
        while let Some(Some((id, sent))) = self.acts.next().now_or_never() {
            self.under_way.remove(&id);
            self.tell(id, sent).await;
        }
        let why = match worked {
            Ok(()) => "it did not finish before the session was ended".to_owned(),
            Err(trouble) => trouble.text.clone(),
        };
        for id in std::mem::take(&mut self.under_way) {
            self.tell(id, Sent::Unknown(why.clone())).await;
        }
        self.acts.clear();
        self.wires.out.tally.lock().in_flight = 0;
    }

    async fn tell(&mut self, id: u64, sent: Sent) {
        self.count(&sent);
        self.wires.out.send(outcome(id, sent)).await;
    }

    fn count(&self, sent: &Sent) {
        let mut tally = self.wires.out.tally.lock();
        match sent {
            Sent::Confirmed { .. } => tally.sent += 1,
            Sent::Refused(_) | Sent::Full(_) => tally.refused += 1,
            Sent::Unknown(_) => tally.unknown += 1,
            Sent::NotSent(_) => {}
        }
    }
}

/// The frame that says what became of a message.
fn outcome(send: u64, sent: Sent) -> Frame {
    let outcome = match sent {
        Sent::Confirmed { message_id, reply } => {
            Outcome::Confirmed(Confirmed { message_id, reply })
        }
        Sent::Refused(why) => Outcome::Refused(why),
        Sent::Full(why) => Outcome::Full(why),
        Sent::NotSent(why) => Outcome::NotSent(why),
        Sent::Unknown(why) => Outcome::Unknown(why),
    };
    Frame::Sent(proto::Sent {
        send,
        outcome: Some(outcome),
    })
}

fn late() -> Sent {
    Sent::NotSent("its time was over before it could be sent".into())
}

fn over() -> Sent {
    Sent::NotSent("the lease of this connector server is over".into())
}

fn unanswered() -> Sent {
    Sent::Unknown("there was no answer in time".into())
}
