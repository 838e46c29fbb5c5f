//! What a session does when its orders or its lease change: it goes on, stands still, or ends.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_ipc::lease::Tenure;

use super::{
    super::{
        link::{Inlet, Session, Trouble},
        role::{DRAIN, Settings},
        wires::LOOK,
    },
    Consuming, Inbound,
};

impl<L: Inlet> Consuming<'_, L> {
    /// Compares what is wanted with what is being done.
    pub(super) async fn reconsider(&mut self) -> Result<(), Trouble> {
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
    pub(super) async fn wind_up(&mut self, within: Duration) -> Result<(), Trouble> {
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
    pub(super) async fn look(&mut self) -> Result<(), Trouble> {
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
    pub(super) async fn lease_over(&mut self) -> Result<(), Trouble> {
        if self.in_order() {
            return Err(Trouble::passing("the lease is over"));
        }
        self.wind_up(DRAIN).await
    }

    /// Whether order is kept here. Where tries are counted by the broker, it is by the broker.
    pub(super) fn in_order(&self) -> bool {
        self.settings.common.ordered && !L::Session::RETRIED_BY_BROKER
    }
}
