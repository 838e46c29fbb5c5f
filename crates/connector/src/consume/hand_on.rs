//! Hand-offs: which message is next, and what the lease lets out.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::connector::{Delivery, from_process::Frame};

use super::{
    super::{
        broker_link::{ConnectorError, InboundLink},
        in_flight::InFlightState,
    },
    ChannelSession,
};

impl<L: InboundLink> ChannelSession<'_, L> {
    /// Hands on the messages whose turn it is.
    pub(super) async fn admit(&mut self) -> Result<(), ConnectorError> {
        let common = self.delivery();
        let (ordered, places) = (common.ordered, usize::from(common.concurrency_max));
        while self.drain.is_none()
            && self.paused_until.is_none()
            && let Some(id) = self.in_flight.next_in_turn(ordered, places)
            && !self.is_too_far_ahead(id)
        {
            self.hand_on(id).await?;
        }
        Ok(())
    }

    /// Returns true if a message of a stream is as far ahead of the first unsettled one as it may
    /// be: all from that one on come again in the next session, those handled since then too.
    pub(super) fn is_too_far_ahead(&self, id: u64) -> bool {
        let offset = self.in_flight.get(id).and_then(|it| it.message.offset);
        let first = self.context.progress.first_unsettled();
        offset.zip(first).is_some_and(|(offset, first)| {
            offset.saturating_sub(first) >= u64::from(self.delivery().prefetch)
        })
    }

    /// Hands a message on for its next try, if the lease lets it.
    pub(super) async fn hand_on(&mut self, id: u64) -> Result<(), ConnectorError> {
        if !self.context.lease.holds(self.reign.epoch) {
            // The message stays unacknowledged: it waits for the lease, or goes back when the
            // session closes.
            return self.check_lease().await;
        }
        let Some(entry) = self.in_flight.get_mut(id) else {
            return Ok(());
        };
        entry.handed_on_at = Some(Instant::now());
        let message = entry.message.clone();
        let message_id = if message.id.is_empty() {
            entry.cid.clone()
        } else {
            message.id.clone()
        };
        let delivery = Delivery {
            delivery: id,
            message_id,
            content_type: message.content_type.clone(),
            headers: message.headers.clone(),
            body: message.body.clone(),
            attempt: entry.attempt,
            redelivered: message.redelivered,
            cid: entry.cid.clone(),
            properties: message.properties.clone(),
            types: message.types.clone(),
            left_out: message.headers_left_out,
        };
        self.in_flight.set_state(id, InFlightState::Running);
        self.context.frames.send(Frame::Delivery(delivery)).await;
        if planted(Mutant::AckedBeforeService) {
            self.acknowledge(id);
        }
        Ok(())
    }

    /// Continues with a message whose wait is over.
    pub(super) async fn resume(
        &mut self,
        id: u64,
        state: InFlightState,
    ) -> Result<(), ConnectorError> {
        match state {
            // A drain leaves the message to the close of the session.
            _ if self.drain.is_some() => {}
            // Its turn comes before that of the messages after it.
            InFlightState::RetryDelayed => self.in_flight.set_state(id, InFlightState::Queued),
            InFlightState::DeadLetterDelayed => self.dead_letter(id),
            InFlightState::RequeueDelayed => self.requeue(id, Duration::ZERO),
            InFlightState::Queued
            | InFlightState::Running
            | InFlightState::Settling
            | InFlightState::DeadLettering => {}
        }
        Ok(())
    }
}
