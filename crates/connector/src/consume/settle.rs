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
        broker_link::{ConnectorError, DeadLetterInfo, InboundLink, Session, Settler},
        in_flight::{InFlightMessage, InFlightState},
    },
    ChannelSession,
};

/// Between tries to put a message into the dead-letter queue.
const DEAD_LETTER_RETRY_FIRST: Duration = Duration::from_millis(200);
const DEAD_LETTER_RETRY_LAST: Duration = Duration::from_secs(10);
/// Each message may bring these lines about.
static NOT_DEAD_LETTERED: RateLimit = RateLimit::each_second();
static GIVEN_UP: RateLimit = RateLimit::each_second();

/// What is done to a message at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettleAction {
    Ack,
    /// The ack of a message that was buried.
    AckDeadLettered,
    Reject,
    /// Given back: it is fetched again after this time at the earliest.
    Requeue(Duration),
    DeadLetter,
}

pub(super) type SettleResult = (u64, SettleAction, Result<(), ConnectorError>);

impl<L: InboundLink> ChannelSession<'_, L> {
    /// It has had its tries.
    pub(super) fn give_up(&mut self, id: u64) {
        if self.settings.shared.on_failure.dead_letter.is_some() {
            self.dead_letter(id);
        } else {
            self.settle(id, SettleAction::Reject);
        }
    }

    /// Puts a message into the dead-letter queue, if the lease lets it.
    pub(super) fn dead_letter(&mut self, id: u64) {
        // Without the lease it stays unacked, and is for the next holder to judge.
        if self.context.lease.holds(self.reign.epoch) {
            self.settle(id, SettleAction::DeadLetter);
        } else {
            self.in_flight.wait(
                id,
                InFlightState::DeadLetterDelayed,
                Instant::now() + DEAD_LETTER_RETRY_FIRST,
            );
        }
    }

    pub(super) fn settle(&mut self, id: u64, act: SettleAction) {
        let Some(flight) = self.in_flight.get_mut(id) else {
            return;
        };
        let Some(queue) = self
            .settings
            .shared
            .on_failure
            .dead_letter
            .clone()
            .or_else(|| (act != SettleAction::DeadLetter).then(String::new))
        else {
            // The dead-letter queue was taken out of the channel meanwhile.
            return self.settle(id, SettleAction::Reject);
        };
        let (settler, token, message) = (
            self.acknowledger.clone(),
            flight.token.clone(),
            flight.message.clone(),
        );
        let reply = std::mem::take(&mut flight.reply);
        let epitaph = DeadLetterInfo {
            reason: flight.reason.clone(),
            attempts: flight.attempt,
            cid: flight.cid.clone(),
            channel: self.context.name().to_owned(),
        };
        self.in_flight.set_state(
            id,
            match act {
                SettleAction::DeadLetter => InFlightState::DeadLettering,
                _ => InFlightState::Settling,
            },
        );
        let doing = async move {
            let result = match act {
                SettleAction::Ack | SettleAction::AckDeadLettered => {
                    settler.ack(&token, &reply).await
                }
                SettleAction::Reject => settler.reject(&token, &epitaph).await,
                SettleAction::Requeue(wait) => settler.requeue(&token, wait).await,
                SettleAction::DeadLetter => {
                    settler
                        .dead_letter(&token, &message, &queue, &epitaph)
                        .await
                }
            };
            (id, act, result)
        };
        self.acts.push(doing.boxed());
    }

    /// Something was done to a message at the broker, or failed.
    pub(super) async fn on_settled(
        &mut self,
        id: u64,
        act: SettleAction,
        result: Result<(), ConnectorError>,
    ) -> Result<(), ConnectorError> {
        if act == SettleAction::DeadLetter {
            match result {
                Ok(()) => {
                    self.report_error("").await;
                    self.settle(id, SettleAction::AckDeadLettered);
                }
                Err(trouble) => {
                    if let Some(left_out) = NOT_DEAD_LETTERED.due("") {
                        warn!(
                            delivery = id,
                            error = trouble.text,
                            left_out,
                            "a message can't be dead-lettered yet"
                        );
                    }
                    let Some(flight) = self.in_flight.get_mut(id) else {
                        return Ok(());
                    };
                    let wait = backoff::nth(
                        DEAD_LETTER_RETRY_FIRST,
                        DEAD_LETTER_RETRY_LAST,
                        flight.dead_letter_attempts,
                    );
                    flight.dead_letter_attempts += 1;
                    self.in_flight.wait(
                        id,
                        InFlightState::DeadLetterDelayed,
                        Instant::now() + wait,
                    );
                    self.report_error(&trouble.text).await;
                }
            }
            return Ok(());
        }
        let flight = self.in_flight.remove(id);
        if let (Some(flight), Ok(()), false) =
            (&flight, &result, matches!(act, SettleAction::Requeue(_)))
        {
            let offset = flight.message.offset;
            self.context.progress.settled(flight.fingerprint, offset);
        }
        if let Err(trouble) = result {
            // The session is gone, and the broker hands the message out again.
            debug!(delivery = id, ?act, error = trouble.text, "not settled");
            if act == SettleAction::Reject {
                // Or it had nowhere to go. Its failures may have been told since the last time.
                self.error_reported = false;
                self.report_error(&trouble.text).await;
            }
            return match self.in_order() {
                true => Err(trouble),
                false => Ok(()),
            };
        }
        if act == SettleAction::Ack && (L::ConsumerSession::RETRIED_BY_BROKER || self.until_handled)
        {
            self.until_handled = false;
            self.report_error("").await;
        }
        if let Some(flight) = flight.filter(|_| act == SettleAction::Reject) {
            if L::ConsumerSession::COMES_AGAIN {
                given_up(&flight);
            }
            // Of a call that has failed its parent knows.
            if flight.undelivered && !self.error_reported {
                self.until_handled = true;
                self.report_error(&flight.reason).await;
            }
        }
        let mut tally = self.context.frames.tally.lock();
        match act {
            SettleAction::Ack => tally.handled += 1,
            SettleAction::AckDeadLettered => {
                tally.failed += 1;
                tally.dead_lettered += 1;
            }
            SettleAction::Reject => tally.failed += 1,
            SettleAction::Requeue(_) | SettleAction::DeadLetter => {}
        }
        Ok(())
    }

    pub(super) async fn report_error(&mut self, error: &str) {
        if self.error_reported != error.is_empty() {
            return;
        }
        self.error_reported = !error.is_empty();
        self.context
            .frames
            .report(Phase::Active, error, self.settings.generation)
            .await;
    }
}

/// Says of a message that was rejected why, as the broker keeps no reason.
fn given_up<T>(flight: &InFlightMessage<T>) {
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
