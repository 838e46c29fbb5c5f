//! One session: messages in, hand-offs out, answers back, and what follows from them.
//!
//! The lease is asked for before each hand-off and before each burial, never before an
//! ack: once the service has succeeded the message is done, whatever the lease says. While
//! it has lapsed and may be renewed the session stands still, with all that it holds.
//!
//! # Order
//!
//! What a channel with `ordered` holds unsettled comes before all that is in the queue, so no
//! other consumer may be let in before it is back. The broker does both at once when the
//! session closes, and only then: so a drain leaves the consumer where it is until what is
//! with the service has been settled, and a session that has lost its lease, or that could
//! not settle a message, ends as a whole. The message that was with the service then comes
//! again, before those after it.

mod answer;
mod hand_on;
mod lease;
mod receive;
mod settle;

use std::{marker::PhantomData, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Fuse},
    stream::FuturesUnordered,
};
use quorate_clock::Instant;
use quorate_proto::connector::{Progress, from_process::Frame};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use self::settle::Done;
use super::{
    flight::{Common, Flights},
    link::{Inlet, Session, Trouble},
    progress::ProgressTracker,
    role::{Role, Served, Settings},
    wires::{Reign, Wires},
};

/// Between two questions to the broker how many messages wait, at least.
const ASK_WAITING: Duration = Duration::from_secs(1);

/// A channel: consumes.
pub struct Inbound<L>(PhantomData<L>);

impl<L: Inlet> Role for Inbound<L> {
    type Link = L;
    type Own = L::Source;
    type Common = Common;
    type Session = L::Session;

    fn same_session(before: &Settings<Self>, now: &Settings<Self>) -> bool {
        before.common.prefetch == now.common.prefetch && before.common.ordered == now.common.ordered
    }

    fn progress_of(link: &L, settings: &Settings<Self>) -> String {
        link.name_of(&settings.own)
    }

    async fn open(
        link: &L,
        settings: &Settings<Self>,
        epoch: Option<u64>,
        progress: &ProgressTracker,
    ) -> Result<L::Session, Trouble> {
        let prefetch = settings.common.prefetch;
        link.open(&settings.own, prefetch, epoch, progress.offset())
            .await
    }

    async fn serve(
        wires: &mut Wires,
        link: &L,
        session: L::Session,
        settings: Settings<Self>,
        reign: Reign,
    ) -> Served<L::Session> {
        Consuming::new(wires, link, session, settings, reign)
            .serve()
            .await
    }

    async fn taken(link: &L, settings: &Settings<Self>) -> Option<bool> {
        link.taken(&settings.own).await
    }

    async fn close(session: L::Session) {
        session.close().await;
    }
}

/// A session at work.
struct Consuming<'a, L: Inlet> {
    wires: &'a mut Wires,
    link: &'a L,
    session: L::Session,
    settler: <L::Session as Session>::Settler,
    settings: Settings<Inbound<L>>,
    reign: Reign,
    flights: Flights<<L::Session as Session>::Token>,
    acts: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Set once the session is to end: when it does at the latest.
    drain: Option<Instant>,
    /// Set while it stands still because the lease has lapsed: when to look again.
    still: Option<Instant>,
    /// Something doesn't work, the dead-letter queue for one, and the parent was told so.
    complained: bool,
    /// What is complained of is over with the next message that is handled.
    until_handled: bool,
}

impl<'a, L: Inlet> Consuming<'a, L> {
    /// Takes over an open session.
    fn new(
        wires: &'a mut Wires,
        link: &'a L,
        session: L::Session,
        settings: Settings<Inbound<L>>,
        reign: Reign,
    ) -> Self {
        let settler = session.settler();
        let (flights, acts) = (Flights::default(), FuturesUnordered::new());
        let until_handled = wires.complaint.take().is_some();
        wires.progress.session_begins();
        Consuming {
            wires,
            link,
            session,
            settler,
            settings,
            reign,
            flights,
            acts,
            drain: None,
            still: None,
            complained: until_handled,
            until_handled,
        }
    }

    /// Serves until the session is drained or ends.
    async fn serve(mut self) -> Served<L::Session> {
        let served = self.work().await;
        if let Err(trouble) = &served
            && trouble.until_handled
        {
            self.count_overlong();
        }
        self.keep().await;
        let mut tally = self.wires.out.tally.lock();
        (tally.in_flight, tally.waiting) = (0, None);
        drop(tally);
        match served {
            Ok(()) => Served::Drained(self.session),
            Err(trouble) => Served::Ended(trouble),
        }
    }

    async fn work(&mut self) -> Result<(), Trouble> {
        // What was ordered since the session was asked for.
        self.reconsider().await?;
        // And what became of the lease since then.
        self.look().await?;
        let stopped = self.wires.watchdog.stopped.clone();
        let link = self.link;
        let mut ask = interval(self.settings.finish.max(ASK_WAITING));
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: Fuse<BoxFuture<'_, Option<u64>>> = Fuse::terminated();
        loop {
            self.admit().await?;
            self.wires.out.tally.lock().in_flight = self.flights.len() as u64;
            if let Some(deadline) = self.drain
                && (!self.flights.busy() || Instant::now() >= deadline)
            {
                return Ok(());
            }
            let keep = self.wires.progress.due();
            let due = [self.flights.next_due(), self.drain, self.still, keep]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                Ok(()) = self.wires.desired.changed() => self.reconsider().await?,
                Some(outcome) = self.wires.outcomes.recv() => self.answered(outcome).await?,
                Some((id, act, result)) = self.acts.next(), if !self.acts.is_empty() => {
                    self.done(id, act, result).await?;
                }
                message = self.session.next(), if self.drain.is_none() && self.still.is_none() => {
                    let (token, message) = message?;
                    self.received(token, message);
                }
                _ = ask.tick(), if self.drain.is_none() => {
                    let source = self.settings.own.clone();
                    asked = async move { link.waiting(&source).await }.boxed().fuse();
                }
                waiting = &mut asked => self.wires.out.tally.lock().waiting = waiting,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    while let Some((id, stage)) = self.flights.pop_due(Instant::now()) {
                        self.resume(id, stage).await?;
                    }
                    if self.still.is_some_and(|at| Instant::now() >= at) {
                        self.look().await?;
                    }
                    if keep.is_some_and(|at| Instant::now() >= at) {
                        self.keep().await;
                    }
                }
                () = stopped.notified() => self.look().await?,
            }
        }
    }

    /// Has what it keeps written, if anything has changed.
    async fn keep(&mut self) {
        if let Some(progress) = self.wires.progress.write() {
            self.wires
                .out
                .send(Frame::Progress(Progress { progress }))
                .await;
        }
    }
}
