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

mod settle;

use std::{marker::PhantomData, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Fuse},
    stream::FuturesUnordered,
};
use quorate_clock::{Instant, id128};
use quorate_planted::{Mutant, planted};
use quorate_proto::connector::{Delivery, Outcome, Progress, from_process::Frame, outcome};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::debug;

use self::settle::{Act, Done};
use super::{
    super::lease::Tenure,
    flight::{Common, Flight, Flights, Stage, Verdict},
    kept::{Memory, fingerprint},
    link::{Inlet, Message, Session, Trouble},
    role::{DRAIN, Role, Served, Settings},
    wires::{LOOK, Reign, Wires},
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

    fn keeps_of(link: &L, settings: &Settings<Self>) -> String {
        link.name_of(&settings.own)
    }

    async fn open(
        link: &L,
        settings: &Settings<Self>,
        epoch: Option<u64>,
        memory: &Memory,
    ) -> Result<L::Session, Trouble> {
        let prefetch = settings.common.prefetch;
        link.open(&settings.own, prefetch, epoch, memory.offset())
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
        wires.memory.session_begins();
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
            let keep = self.wires.memory.due();
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

    /// Compares what is wanted with what is being done.
    async fn reconsider(&mut self) -> Result<(), Trouble> {
        let desired = self.wires.desired.borrow_and_update().clone();
        let settings = desired
            .configure
            .as_deref()
            .map(Settings::<Inbound<L>>::read);
        match settings {
            Some(Ok(settings))
                if desired.act == Some(self.reign) && self.settings.same_session(&settings) =>
            {
                // The failure policy may have changed: it counts from the next failure on.
                self.settings = settings;
                Ok(())
            }
            _ => self.wind_up(desired.drain).await,
        }
    }

    /// Stops consuming; what is in flight may finish until then.
    async fn wind_up(&mut self, within: Duration) -> Result<(), Trouble> {
        let deadline = Instant::now() + within;
        if let Some(earlier) = self.drain {
            self.drain = Some(earlier.min(deadline));
            return Ok(());
        }
        self.drain = Some(deadline);
        if !self.in_order() {
            self.session.cancel().await?;
        }
        // Nothing comes in any more, and nothing is handed on without asking the page.
        self.wires.watchdog.disarm();
        Ok(())
    }

    /// Looks at the page: goes on, stands still, or winds up.
    async fn look(&mut self) -> Result<(), Trouble> {
        self.still = None;
        if self.drain.is_some() {
            // It hands nothing on any more.
            return Ok(());
        }
        match self.wires.tenure(self.reign.epoch) {
            Tenure::Runs(_) => Ok(()),
            // What is with the service while nothing may follow it would be overtaken by what
            // a successor begins: order is given up for nothing, so all goes back at once.
            Tenure::Lapsed(..) if self.in_order() => self.lease_over().await,
            Tenure::Lapsed(..) => {
                self.still = Some(Instant::now() + LOOK);
                Ok(())
            }
            Tenure::Over => self.lease_over().await,
        }
    }

    /// Nothing may be handed on any more. What has been may finish, unless order forbids it.
    async fn lease_over(&mut self) -> Result<(), Trouble> {
        if self.in_order() {
            return Err(Trouble::passing("the lease is over"));
        }
        self.wind_up(DRAIN).await
    }

    /// Whether order is kept here. Where tries are counted by the broker, it is by the broker.
    fn in_order(&self) -> bool {
        self.settings.common.ordered && !L::Session::RETRIED_BY_BROKER
    }

    /// The broker has taken all back, since it had waited too long for one message: the one
    /// that came first. Where that is with its service still, the call has failed: it would
    /// begin with its first try for ever. One that waited for its turn instead has not.
    fn count_overlong(&mut self) {
        let Some(flight) = self.flights.oldest_mut() else {
            return;
        };
        if L::Session::COMES_AGAIN && flight.is_overlong(Instant::now()) {
            let tries = flight.attempt;
            let by = *flight
                .fingerprint
                .get_or_insert_with(|| fingerprint(&flight.message));
            self.wires.memory.failed(by, tries);
        }
    }

    /// Has what it keeps written, if anything has changed.
    async fn keep(&mut self) {
        if let Some(kept) = self.wires.memory.write() {
            self.wires
                .out
                .send(Frame::Progress(Progress { kept }))
                .await;
        }
    }

    /// A message has come. It is handed on when it is its turn.
    fn received(&mut self, token: <L::Session as Session>::Token, message: Message) {
        let cid = format!("K{:039}", id128());
        let id = self.wires.next_delivery;
        self.wires.next_delivery += 1;
        self.wires.out.tally.lock().received += 1;
        let mut flight = Flight::new(token, message, cid);
        if let Some(offset) = flight.message.offset {
            self.wires.memory.received(offset);
        }
        if let Some(why) = flight.message.unreadable.clone() {
            return self.give_up_unheard(id, flight, 0, why);
        }
        let retries = self.settings.common.on_failure.retries;
        if !L::Session::RETRIED_BY_BROKER {
            let memory = &self.wires.memory;
            let before = L::Session::COMES_AGAIN
                .then(|| memory.tries(&flight.message))
                .flatten();
            let Some((fingerprint, tries)) = before else {
                return self.flights.queue(id, flight);
            };
            flight.fingerprint = Some(fingerprint);
            flight.attempt = tries.saturating_add(1);
            if tries <= retries {
                return self.flights.queue(id, flight);
            }
            // Nobody lived to put it into the dead-letter queue.
            let why = format!(
                "it had failed {tries} times when its channel ended, calls that took longer than the broker's consumer_timeout included"
            );
            return self.give_up_unheard(id, flight, tries, why);
        }
        let tries = flight.message.delivered;
        flight.attempt = tries.saturating_add(1);
        if tries <= retries {
            return self.flights.queue(id, flight);
        }
        // It has had its tries, though perhaps nobody lived to see it fail.
        let (attempt, why) = (flight.attempt, format!("it was given back {tries} times"));
        self.give_up_unheard(id, flight, attempt, why);
    }

    /// A message is given up without being handed on.
    fn give_up_unheard(
        &mut self,
        id: u64,
        flight: Flight<<L::Session as Session>::Token>,
        attempt: u32,
        reason: String,
    ) {
        let flight = Flight {
            attempt,
            reason,
            unheard: true,
            ..flight
        };
        self.flights.queue(id, flight);
        self.give_up(id);
    }

    /// Hands on those whose turn it is.
    async fn admit(&mut self) -> Result<(), Trouble> {
        let common = &self.settings.common;
        let (ordered, places) = (common.ordered, common.places());
        while self.drain.is_none()
            && self.still.is_none()
            && let Some(id) = self.flights.next_in_turn(ordered, places)
            && !self.is_too_far_ahead(id)
        {
            self.hand_on(id).await?;
        }
        Ok(())
    }

    /// Whether a message of a stream is as far behind the first that is not settled as may
    /// be: all from that one on comes again in the next session, what was handled since too.
    fn is_too_far_ahead(&self, id: u64) -> bool {
        let offset = self.flights.get(id).and_then(|it| it.message.offset);
        let first = self.wires.memory.first_unsettled();
        offset.zip(first).is_some_and(|(offset, first)| {
            offset.saturating_sub(first) >= u64::from(self.settings.common.prefetch)
        })
    }

    /// Hands a message on for its next try, if the lease lets it.
    async fn hand_on(&mut self, id: u64) -> Result<(), Trouble> {
        if !self.wires.lease.holds(self.reign.epoch) {
            // It stays unacked: it waits for the lease, or goes back when the session closes.
            return self.look().await;
        }
        let Some(flight) = self.flights.get_mut(id) else {
            return Ok(());
        };
        flight.handed_on = Some(Instant::now());
        let message = flight.message.clone();
        let message_id = if message.id.is_empty() {
            flight.cid.clone()
        } else {
            message.id.clone()
        };
        let delivery = Delivery {
            delivery: id,
            message_id,
            content_type: message.content_type.clone(),
            headers: message.headers.clone(),
            body: message.body.clone(),
            attempt: flight.attempt,
            redelivered: message.redelivered,
            cid: flight.cid.clone(),
            properties: message.properties.clone(),
            types: message.types.clone(),
            left_out: message.left_out,
        };
        self.flights.stage(id, Stage::Running);
        self.wires.out.send(Frame::Delivery(delivery)).await;
        if planted(Mutant::AckedBeforeService) {
            self.act(id, Act::Ack);
        }
        Ok(())
    }

    /// A message's wait is over.
    async fn resume(&mut self, id: u64, stage: Stage) -> Result<(), Trouble> {
        match stage {
            // A drain leaves it to the close of the session.
            _ if self.drain.is_some() => {}
            // Its turn comes before that of the messages after it.
            Stage::Waiting => self.flights.stage(id, Stage::Queued),
            Stage::BuryLater => self.bury(id),
            Stage::GiveBackLater => self.act(id, Act::Requeue(Duration::ZERO)),
            Stage::Queued | Stage::Running | Stage::Settling | Stage::Burying => {}
        }
        Ok(())
    }

    /// The service has answered, or nobody could be asked.
    async fn answered(&mut self, outcome: Outcome) -> Result<(), Trouble> {
        let Outcome {
            delivery: id,
            result,
        } = outcome;
        let Some(flight) = self
            .flights
            .get_mut(id)
            .filter(|flight| flight.stage == Stage::Running)
        else {
            debug!(
                delivery = id,
                "an answer came after the session of its message had ended"
            );
            return Ok(());
        };
        let (policy, now) = (&self.settings.common.on_failure, Instant::now());
        let before = flight.attempt;
        let (verdict, counts) = match result {
            Some(outcome::Result::Handled(reply)) => {
                flight.reply = reply;
                self.act(id, Act::Ack);
                return Ok(());
            }
            Some(outcome::Result::Fenced(why)) => {
                debug!(delivery = id, why, "fenced");
                self.wires.out.tally.lock().fenced += 1;
                // A stream takes nothing back: the next session begins with it.
                let from_a_stream = flight.message.offset.is_some();
                if from_a_stream || self.in_order() {
                    return Err(Trouble::new(format!("a message was fenced: {why}")));
                }
                // Later, so that a service that keeps refusing isn't asked in a tight loop.
                self.flights
                    .wait(id, Stage::GiveBackLater, now + policy.wait(0));
                return Ok(());
            }
            Some(outcome::Result::NotRun(why)) => (flight.not_run(policy, why, now), false),
            Some(outcome::Result::Failed(why)) => (flight.failed(policy, why), true),
            Some(outcome::Result::Refused(why)) => {
                flight.reason = why;
                (Verdict::GiveUp, false)
            }
            None => (
                flight.failed(policy, "the answer can't be read".to_owned()),
                true,
            ),
        };
        // One that no member could run is a try, too, once its grace is spent.
        let tried = counts || verdict == Verdict::GiveUp || flight.attempt > before;
        if tried && L::Session::COMES_AGAIN {
            let failed = match verdict {
                Verdict::Again(_) => flight.attempt - 1,
                Verdict::GiveUp => flight.attempt,
            };
            let by = *flight
                .fingerprint
                .get_or_insert_with(|| fingerprint(&flight.message));
            self.wires.memory.failed(by, failed);
        }
        match verdict {
            Verdict::Again(wait) => {
                if counts {
                    self.wires.out.tally.lock().retried += 1;
                }
                if counts && L::Session::RETRIED_BY_BROKER {
                    self.act(id, Act::Requeue(wait));
                } else {
                    self.flights.wait(id, Stage::Waiting, now + wait);
                }
            }
            Verdict::GiveUp => self.give_up(id),
        }
        Ok(())
    }
}
