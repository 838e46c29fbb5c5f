//! Answers back: what follows from what became of a hand-off.

use quorate_clock::Instant;
use quorate_proto::connector::{Outcome, outcome};
use tracing::debug;

use super::{
    super::{
        flight::{Stage, Verdict},
        link::{Inlet, Session, Trouble},
        progress::fingerprint,
    },
    Consuming,
    settle::Act,
};

impl<L: Inlet> Consuming<'_, L> {
    /// The service has answered, or nobody could be asked.
    pub(super) async fn answered(&mut self, outcome: Outcome) -> Result<(), Trouble> {
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
            self.wires.progress.failed(by, failed);
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
