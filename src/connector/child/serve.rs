//! One session: messages in, hand-offs out, answers back, and what follows from them.
//!
//! The lease is asked for before each hand-off and before each burial, never before an
//! ack: once the service has succeeded the message is done, whatever the lease says.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quorate_proto::connector::{Delivery, Outcome, Phase, from_process::Frame, outcome};
use tokio::time::sleep_until;
use tracing::{debug, warn};

use super::{
    backoff,
    flight::{Flight, Flights, Stage, Verdict},
    link::{Epitaph, Link, Session, Settler, Trouble},
    run::Settings,
    wires::{Reign, Wires},
};

/// How long a drain may take when nobody said (the lease was revoked under it).
const DRAIN: Duration = Duration::from_secs(5);
/// Between tries to put a message into the dead-letter queue.
const BURY_FIRST: Duration = Duration::from_millis(200);
const BURY_LAST: Duration = Duration::from_secs(10);

/// How a session ended.
pub enum Served<S> {
    /// It was asked to end, and nothing that matters is in flight. Close it.
    Drained(S),
    /// It ended by itself.
    Ended(Trouble),
}

/// What is done to a message at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Ack,
    /// The ack of a message that was buried.
    AckBuried,
    Reject,
    Requeue,
    Bury,
}

type Done = (u64, Act, Result<(), Trouble>);

/// A session at work.
pub struct Serving<'a, L: Link> {
    wires: &'a mut Wires,
    next_delivery: &'a mut u64,
    session: L::Session,
    settler: <L::Session as Session>::Settler,
    settings: Settings<L>,
    reign: Reign,
    flights: Flights<<L::Session as Session>::Token>,
    acts: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Set once the session is to end: when it does at the latest.
    drain: Option<Instant>,
    /// The dead-letter queue doesn't work, and the parent was told so.
    complained: bool,
}

impl<'a, L: Link> Serving<'a, L> {
    /// Takes over an open session.
    pub fn new(
        wires: &'a mut Wires,
        next_delivery: &'a mut u64,
        session: L::Session,
        settings: Settings<L>,
        reign: Reign,
    ) -> Self {
        let settler = session.settler();
        let (flights, acts) = (Flights::default(), FuturesUnordered::new());
        Serving {
            wires,
            next_delivery,
            session,
            settler,
            settings,
            reign,
            flights,
            acts,
            drain: None,
            complained: false,
        }
    }

    /// Serves until the session is drained or ends.
    pub async fn serve(mut self) -> Served<L::Session> {
        let served = self.work().await;
        self.wires.out.tally.lock().in_flight = 0;
        match served {
            Ok(()) => Served::Drained(self.session),
            Err(trouble) => Served::Ended(trouble),
        }
    }

    async fn work(&mut self) -> Result<(), Trouble> {
        // What was ordered since the session was asked for.
        self.reconsider().await?;
        let revoked = self.wires.watchdog.revoked.clone();
        loop {
            self.wires.out.tally.lock().in_flight = self.flights.len() as u64;
            if let Some(deadline) = self.drain
                && (!self.flights.busy() || Instant::now() >= deadline)
            {
                return Ok(());
            }
            let due = [self.flights.next_due(), self.drain]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                Ok(()) = self.wires.desired.changed() => self.reconsider().await?,
                Some(outcome) = self.wires.outcomes.recv() => self.answered(outcome).await,
                Some((id, act, result)) = self.acts.next(), if !self.acts.is_empty() => {
                    self.done(id, act, result).await;
                }
                message = self.session.next(), if self.drain.is_none() => {
                    let (token, message) = message?;
                    let cid = format!("K{:039}", rand::random::<u128>());
                    let id = *self.next_delivery;
                    *self.next_delivery += 1;
                    self.flights.insert(id, Flight::new(token, message, cid));
                    self.hand_on(id).await?;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    while let Some((id, stage)) = self.flights.pop_due(Instant::now()) {
                        self.resume(id, stage).await?;
                    }
                }
                () = revoked.notified() => {
                    if !self.wires.lease.holds(self.reign.epoch) {
                        self.wind_up(DRAIN).await?;
                    }
                }
            }
        }
    }

    /// Compares what is wanted with what is being done.
    async fn reconsider(&mut self) -> Result<(), Trouble> {
        let desired = self.wires.desired.borrow_and_update().clone();
        let settings = desired.configure.as_deref().map(Settings::<L>::read);
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
        self.session.cancel().await?;
        // Nothing comes in any more, and nothing is handed on without asking the page.
        self.wires.watchdog.disarm();
        Ok(())
    }

    /// Hands a message on for its next try, if the lease lets it.
    async fn hand_on(&mut self, id: u64) -> Result<(), Trouble> {
        if !self.wires.lease.holds(self.reign.epoch) {
            // It stays unacked and goes back when the session closes.
            self.flights.remove(id);
            return self.wind_up(DRAIN).await;
        }
        let Some(flight) = self.flights.get_mut(id) else {
            return Ok(());
        };
        flight.stage = Stage::Running;
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
        };
        self.wires.out.send(Frame::Delivery(delivery)).await;
        Ok(())
    }

    /// A message's wait is over.
    async fn resume(&mut self, id: u64, stage: Stage) -> Result<(), Trouble> {
        match stage {
            // A drain leaves it to the close of the session.
            _ if self.drain.is_some() => {}
            Stage::Waiting => self.hand_on(id).await?,
            Stage::BuryLater => self.bury(id),
            Stage::GiveBackLater => self.act(id, Act::Requeue),
            Stage::Running | Stage::Settling | Stage::Burying => {}
        }
        Ok(())
    }

    /// The service has answered, or nobody could be asked.
    async fn answered(&mut self, outcome: Outcome) {
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
            return;
        };
        let (policy, now) = (&self.settings.common.on_failure, Instant::now());
        let (verdict, counts) = match result {
            Some(outcome::Result::Handled(_)) => return self.act(id, Act::Ack),
            Some(outcome::Result::Fenced(why)) => {
                debug!(delivery = id, why, "fenced");
                self.wires.out.tally.lock().fenced += 1;
                // Later, so that a service that keeps refusing isn't asked in a tight loop.
                return self
                    .flights
                    .wait(id, Stage::GiveBackLater, now + policy.wait(0));
            }
            Some(outcome::Result::NotRun(why)) => (flight.not_run(policy, why, now), false),
            Some(outcome::Result::Failed(why)) => (flight.failed(policy, why), true),
            None => (
                flight.failed(policy, "the answer can't be read".to_owned()),
                true,
            ),
        };
        match verdict {
            Verdict::Again(wait) => {
                if counts {
                    self.wires.out.tally.lock().retried += 1;
                }
                self.flights.wait(id, Stage::Waiting, now + wait);
            }
            Verdict::GiveUp if self.settings.common.on_failure.dead_letter.is_some() => {
                self.bury(id)
            }
            Verdict::GiveUp => self.act(id, Act::Reject),
        }
    }

    /// Puts a message into the dead-letter queue, if the lease lets it.
    fn bury(&mut self, id: u64) {
        // Without the lease it stays unacked, and is for the next holder to judge.
        if self.wires.lease.holds(self.reign.epoch) {
            self.act(id, Act::Bury);
        } else {
            self.flights
                .wait(id, Stage::BuryLater, Instant::now() + BURY_FIRST);
        }
    }

    fn act(&mut self, id: u64, act: Act) {
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        let Some(queue) = self
            .settings
            .common
            .on_failure
            .dead_letter
            .clone()
            .or_else(|| (act != Act::Bury).then(String::new))
        else {
            // The dead-letter queue was taken out of the channel meanwhile.
            return self.act(id, Act::Reject);
        };
        flight.stage = if act == Act::Bury {
            Stage::Burying
        } else {
            Stage::Settling
        };
        let (settler, token, message) = (
            self.settler.clone(),
            flight.token.clone(),
            flight.message.clone(),
        );
        let epitaph = Epitaph {
            reason: flight.reason.clone(),
            attempts: flight.attempt,
            cid: flight.cid.clone(),
            channel: self.wires.channel().to_owned(),
        };
        let doing = async move {
            let result = match act {
                Act::Ack | Act::AckBuried => settler.ack(&token).await,
                Act::Reject => settler.reject(&token).await,
                Act::Requeue => settler.requeue(&token).await,
                Act::Bury => settler.bury(&token, &message, &queue, &epitaph).await,
            };
            (id, act, result)
        };
        self.acts.push(doing.boxed());
    }

    /// Something was done to a message at the broker, or failed.
    async fn done(&mut self, id: u64, act: Act, result: Result<(), Trouble>) {
        if act == Act::Bury {
            return match result {
                Ok(()) => {
                    self.complain("").await;
                    self.act(id, Act::AckBuried);
                }
                Err(trouble) => {
                    warn!(
                        delivery = id,
                        error = trouble.text,
                        "a message can't be dead-lettered yet"
                    );
                    let Some(flight) = self.flights.get_mut(id) else {
                        return;
                    };
                    let wait = backoff::nth(BURY_FIRST, BURY_LAST, flight.buried);
                    flight.buried += 1;
                    self.flights
                        .wait(id, Stage::BuryLater, Instant::now() + wait);
                    self.complain(&trouble.text).await;
                }
            };
        }
        self.flights.remove(id);
        if let Err(trouble) = result {
            // The session is gone, and the broker hands the message out again.
            debug!(delivery = id, ?act, error = trouble.text, "not settled");
            return;
        }
        let mut tally = self.wires.out.tally.lock();
        match act {
            Act::Ack => tally.handled += 1,
            Act::AckBuried => {
                tally.failed += 1;
                tally.dead_lettered += 1;
            }
            Act::Reject => tally.failed += 1,
            Act::Requeue | Act::Bury => {}
        }
    }

    async fn complain(&mut self, error: &str) {
        if self.complained != error.is_empty() {
            return;
        }
        self.complained = !error.is_empty();
        self.wires
            .out
            .report(Phase::Consuming, error, self.settings.generation)
            .await;
    }
}
