//! Answers of services to hand-offs, and what follows from them.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_proto::connector::{Outcome, outcome};
use tracing::debug;

use super::{
    super::{
        broker_link::{ConnectorError, ConsumerSession, InboundLink},
        in_flight::{InFlightState, RetryDecision},
        progress::fingerprint,
    },
    ChannelSession,
};

impl<L: InboundLink> ChannelSession<'_, L> {
    /// Handles the service's answer, or the reason why no service was asked.
    pub(super) async fn answered(&mut self, outcome: Outcome) -> Result<(), ConnectorError> {
        let Outcome {
            delivery: id,
            result,
        } = outcome;
        let Some(entry) = self
            .in_flight
            .get_mut(id)
            .filter(|entry| entry.state == InFlightState::Running)
        else {
            debug!(
                delivery = id,
                "an answer came after the session of its message had ended"
            );
            return Ok(());
        };
        let (policy, now) = (&self.settings.connector.shared.on_failure, Instant::now());
        let before = entry.attempt;
        let (decision, counts) = match result {
            Some(outcome::Result::Handled(reply)) => {
                entry.reply = reply;
                self.acknowledge(id);
                return Ok(());
            }
            Some(outcome::Result::Fenced(why)) => {
                debug!(why, "fenced");
                self.context.frames.tally.lock().fenced += 1;
                // A stream takes nothing back: the next session begins with this message.
                let from_a_stream = entry.message.offset.is_some();
                if from_a_stream || self.in_order() {
                    return Err(ConnectorError::new(format!("a message was fenced: {why}")));
                }
                // Later, so that a service that keeps refusing isn't asked in a tight loop.
                self.in_flight.wait(
                    id,
                    InFlightState::RequeueDelayed,
                    now + Duration::from_millis(policy.wait_ms(0)),
                );
                return Ok(());
            }
            Some(outcome::Result::NotRun(why)) => (entry.not_run(policy, why, now), false),
            Some(outcome::Result::Failed(why)) => (entry.failed(policy, why), true),
            Some(outcome::Result::Refused(why)) => {
                entry.reason = why;
                (RetryDecision::GiveUp, false)
            }
            None => (
                entry.failed(policy, "the answer can't be read".to_owned()),
                true,
            ),
        };
        // A message that no member could run was tried, too, once its grace is spent.
        let tried = counts || decision == RetryDecision::GiveUp || entry.attempt > before;
        if tried && L::Session::COMES_AGAIN {
            let failed = match decision {
                RetryDecision::Retry(_) => entry.attempt - 1,
                RetryDecision::GiveUp => entry.attempt,
            };
            let by = *entry
                .fingerprint
                .get_or_insert_with(|| fingerprint(&entry.message));
            self.context.progress.failed(by, failed);
        }
        match decision {
            RetryDecision::Retry(wait) => {
                if counts {
                    self.context.frames.tally.lock().retried += 1;
                }
                if counts && L::Session::RETRIED_BY_BROKER {
                    self.requeue(id, wait);
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
