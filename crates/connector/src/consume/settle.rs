//! What becomes of a message at the broker: acknowledged, dead-lettered, rejected, given back.

use std::time::Duration;

use futures_util::FutureExt;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_proto::connector::Phase;
use quorate_types::backoff;
use tracing::{debug, warn};

use super::{
    super::{
        flight::{Flight, Stage},
        link::{Epitaph, Inlet, Session, Settler, Trouble},
    },
    Consuming,
};

/// Between tries to put a message into the dead-letter queue.
const BURY_FIRST: Duration = Duration::from_millis(200);
const BURY_LAST: Duration = Duration::from_secs(10);
/// Each message may bring these lines about.
static NOT_BURIED: RateLimit = RateLimit::each_second();
static GIVEN_UP: RateLimit = RateLimit::each_second();

/// What is done to a message at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Ack,
    /// The ack of a message that was buried.
    AckBuried,
    Reject,
    /// Given back: it is fetched again after this time at the earliest.
    Requeue(Duration),
    Bury,
}

pub(super) type Done = (u64, Act, Result<(), Trouble>);

impl<L: Inlet> Consuming<'_, L> {
    /// It has had its tries.
    pub(super) fn give_up(&mut self, id: u64) {
        if self.settings.common.on_failure.dead_letter.is_some() {
            self.bury(id);
        } else {
            self.act(id, Act::Reject);
        }
    }

    /// Puts a message into the dead-letter queue, if the lease lets it.
    pub(super) fn bury(&mut self, id: u64) {
        // Without the lease it stays unacked, and is for the next holder to judge.
        if self.wires.lease.holds(self.reign.epoch) {
            self.act(id, Act::Bury);
        } else {
            self.flights
                .wait(id, Stage::BuryLater, Instant::now() + BURY_FIRST);
        }
    }

    pub(super) fn act(&mut self, id: u64, act: Act) {
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
        let (settler, token, message) = (
            self.settler.clone(),
            flight.token.clone(),
            flight.message.clone(),
        );
        let reply = std::mem::take(&mut flight.reply);
        let epitaph = Epitaph {
            reason: flight.reason.clone(),
            attempts: flight.attempt,
            cid: flight.cid.clone(),
            channel: self.wires.name().to_owned(),
        };
        self.flights.stage(
            id,
            match act {
                Act::Bury => Stage::Burying,
                _ => Stage::Settling,
            },
        );
        let doing = async move {
            let result = match act {
                Act::Ack | Act::AckBuried => settler.ack(&token, &reply).await,
                Act::Reject => settler.reject(&token, &epitaph).await,
                Act::Requeue(wait) => settler.requeue(&token, wait).await,
                Act::Bury => settler.bury(&token, &message, &queue, &epitaph).await,
            };
            (id, act, result)
        };
        self.acts.push(doing.boxed());
    }

    /// Something was done to a message at the broker, or failed.
    pub(super) async fn done(
        &mut self,
        id: u64,
        act: Act,
        result: Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        if act == Act::Bury {
            match result {
                Ok(()) => {
                    self.complain("").await;
                    self.act(id, Act::AckBuried);
                }
                Err(trouble) => {
                    if let Some(left_out) = NOT_BURIED.due("") {
                        warn!(
                            delivery = id,
                            error = trouble.text,
                            left_out,
                            "a message can't be dead-lettered yet"
                        );
                    }
                    let Some(flight) = self.flights.get_mut(id) else {
                        return Ok(());
                    };
                    let wait = backoff::nth(BURY_FIRST, BURY_LAST, flight.buried);
                    flight.buried += 1;
                    self.flights
                        .wait(id, Stage::BuryLater, Instant::now() + wait);
                    self.complain(&trouble.text).await;
                }
            }
            return Ok(());
        }
        let flight = self.flights.remove(id);
        if let (Some(flight), Ok(()), false) = (&flight, &result, matches!(act, Act::Requeue(_))) {
            let offset = flight.message.offset;
            self.wires.progress.settled(flight.fingerprint, offset);
        }
        if let Err(trouble) = result {
            // The session is gone, and the broker hands the message out again.
            debug!(delivery = id, ?act, error = trouble.text, "not settled");
            if act == Act::Reject {
                // Or it had nowhere to go. Its failures may have been told since the last time.
                self.complained = false;
                self.complain(&trouble.text).await;
            }
            return match self.in_order() {
                true => Err(trouble),
                false => Ok(()),
            };
        }
        if act == Act::Ack && (L::Session::RETRIED_BY_BROKER || self.until_handled) {
            self.until_handled = false;
            self.complain("").await;
        }
        if let Some(flight) = flight.filter(|_| act == Act::Reject) {
            if L::Session::COMES_AGAIN {
                given_up(&flight);
            }
            // Of a call that has failed its parent knows.
            if flight.unheard && !self.complained {
                self.until_handled = true;
                self.complain(&flight.reason).await;
            }
        }
        let mut tally = self.wires.out.tally.lock();
        match act {
            Act::Ack => tally.handled += 1,
            Act::AckBuried => {
                tally.failed += 1;
                tally.dead_lettered += 1;
            }
            Act::Reject => tally.failed += 1,
            Act::Requeue(_) | Act::Bury => {}
        }
        Ok(())
    }

    pub(super) async fn complain(&mut self, error: &str) {
        if self.complained != error.is_empty() {
            return;
        }
        self.complained = !error.is_empty();
        self.wires
            .out
            .report(Phase::Active, error, self.settings.generation)
            .await;
    }
}

/// Says of a message that was rejected why, as the broker keeps no reason.
fn given_up<T>(flight: &Flight<T>) {
    let Some(left_out) = GIVEN_UP.due("") else {
        return;
    };
    let what = match flight.message.offset {
        // Nothing takes what a stream's consumer rejects.
        Some(_) => {
            "a message of a stream was given up and passed over: the channel has no `dead_letter`"
        }
        None => {
            "a message was given up and rejected, for the queue's own dead-letter exchange if it has one: the channel has no `dead_letter`"
        }
    };
    warn!(
        cid = flight.cid,
        message_id = flight.message.id,
        offset = flight.message.offset,
        attempts = flight.attempt,
        reason = flight.reason,
        left_out,
        "{what}"
    );
}
