//! Hand-offs: whose turn it is, and what the lease lets go out.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::connector::{Delivery, from_process::Frame};

use super::{
    super::{
        flight::Stage,
        link::{Inlet, Trouble},
    },
    Consuming,
    settle::Act,
};

impl<L: Inlet> Consuming<'_, L> {
    /// Hands on those whose turn it is.
    pub(super) async fn admit(&mut self) -> Result<(), Trouble> {
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
    pub(super) fn is_too_far_ahead(&self, id: u64) -> bool {
        let offset = self.flights.get(id).and_then(|it| it.message.offset);
        let first = self.wires.progress.first_unsettled();
        offset.zip(first).is_some_and(|(offset, first)| {
            offset.saturating_sub(first) >= u64::from(self.settings.common.prefetch)
        })
    }

    /// Hands a message on for its next try, if the lease lets it.
    pub(super) async fn hand_on(&mut self, id: u64) -> Result<(), Trouble> {
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
    pub(super) async fn resume(&mut self, id: u64, stage: Stage) -> Result<(), Trouble> {
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
}
