//! Answers back: what follows from what became of a hand-off.

use quorate_clock::Instant;
use quorate_proto::connector::{Outcome, outcome};
use tracing::debug;

use super::{
    super::{
        broker_link::{ConnectorError, InboundLink, Session},
        in_flight::{InFlightState, RetryDecision},
        progress::fingerprint,
    },
    ChannelSession,
    settle::SettleAction,
};

impl<L: InboundLink> ChannelSession<'_, L> {
    /// The service has answered, or nobody could be asked.
    pub(super) async fn answered(&mut self, outcome: Outcome) -> Result<(), ConnectorError> {
        let Outcome {
            delivery: id,
            result,
        } = outcome;
        let Some(flight) = self
            .in_flight
            .get_mut(id)
            .filter(|flight| flight.state == InFlightState::Running)
        else {
            debug!(
                delivery = id,
                "an answer came after the session of its message had ended"
            );
            return Ok(());
        };
        let (policy, now) = (&self.settings.shared.on_failure, Instant::now());
        let before = flight.attempt;
        let (verdict, counts) = match result {
            Some(outcome::Result::Handled(reply)) => {
                flight.reply = reply;
                self.settle(id, SettleAction::Ack);
                return Ok(());
            }
            Some(outcome::Result::Fenced(why)) => {
                debug!(delivery = id, why, "fenced");
                self.context.frames.tally.lock().fenced += 1;
                // A stream takes nothing back: the next session begins with it.
                let from_a_stream = flight.message.offset.is_some();
                if from_a_stream || self.in_order() {
                    return Err(ConnectorError::new(format!("a message was fenced: {why}")));
                }
                // Later, so that a service that keeps refusing isn't asked in a tight loop.
                self.in_flight
                    .wait(id, InFlightState::RequeueDelayed, now + policy.wait(0));
                return Ok(());
            }
            Some(outcome::Result::NotRun(why)) => (flight.not_run(policy, why, now), false),
            Some(outcome::Result::Failed(why)) => (flight.failed(policy, why), true),
            Some(outcome::Result::Refused(why)) => {
                flight.reason = why;
                (RetryDecision::GiveUp, false)
            }
            None => (
                flight.failed(policy, "the answer can't be read".to_owned()),
                true,
            ),
        };
        // One that no member could run is a try, too, once its grace is spent.
        let tried = counts || verdict == RetryDecision::GiveUp || flight.attempt > before;
        if tried && L::ConsumerSession::COMES_AGAIN {
            let failed = match verdict {
                RetryDecision::Retry(_) => flight.attempt - 1,
                RetryDecision::GiveUp => flight.attempt,
            };
            let by = *flight
                .fingerprint
                .get_or_insert_with(|| fingerprint(&flight.message));
            self.context.progress.failed(by, failed);
        }
        match verdict {
            RetryDecision::Retry(wait) => {
                if counts {
                    self.context.frames.tally.lock().retried += 1;
                }
                if counts && L::ConsumerSession::RETRIED_BY_BROKER {
                    self.settle(id, SettleAction::Requeue(wait));
                } else {
                    self.in_flight
                        .wait(id, InFlightState::RetryDelayed, now + wait);
                }
            }
            RetryDecision::GiveUp => self.give_up(id),
        }
        Ok(())
    }
}
