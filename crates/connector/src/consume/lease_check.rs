//! Reactions of a session to new orders and to its lease: go on, stand still, or end.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_ipc::lease::LeaseTenure;

use super::{
    super::{
        broker_link::{ConnectorError, ConsumerSession, InboundLink},
        process_context::LEASE_POLL_INTERVAL,
        role::{DRAIN_TIMEOUT_DEFAULT, RoleSettings},
    },
    ChannelRole, ChannelSession,
};

impl<L: InboundLink> ChannelSession<'_, L> {
    /// Compares the desired state with what the session does.
    pub(super) async fn apply_desired(&mut self) -> Result<(), ConnectorError> {
        let desired = self.context.desired.borrow_and_update().clone();
        let settings = desired
            .configure
            .as_deref()
            .map(RoleSettings::<ChannelRole<L>>::read);
        match settings {
            Some(Ok(settings))
                if desired.act == Some(self.reign) && self.settings.same_session(&settings) =>
            {
                // The failure policy may have changed: it counts from the next failure on.
                self.settings = settings;
                Ok(())
            }
            _ => self.begin_drain(desired.drain).await,
        }
    }

    /// Stops consuming; messages in flight may finish within this time.
    pub(super) async fn begin_drain(&mut self, within: Duration) -> Result<(), ConnectorError> {
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
        self.context.watchdog.disarm();
        Ok(())
    }

    /// Checks the lease page: goes on, stands still, or begins to drain.
    pub(super) async fn check_lease(&mut self) -> Result<(), ConnectorError> {
        self.paused_until = None;
        if self.drain.is_some() {
            // A draining session hands nothing on any more.
            return Ok(());
        }
        match self.context.tenure(self.reign.epoch) {
            LeaseTenure::Runs(_) => Ok(()),
            // A message with the service, while nothing may follow it, would be overtaken by what a
            // successor begins. Order would be given up for nothing, so all goes back at once.
            LeaseTenure::Lapsed(..) if self.in_order() => self.lease_over().await,
            LeaseTenure::Lapsed(..) => {
                self.paused_until = Some(Instant::now() + LEASE_POLL_INTERVAL);
                Ok(())
            }
            LeaseTenure::Over => self.lease_over().await,
        }
    }

    /// Ends handing on. Messages with the service may finish, unless order forbids it.
    pub(super) async fn lease_over(&mut self) -> Result<(), ConnectorError> {
        if self.in_order() {
            return Err(ConnectorError::transient("the lease is over"));
        }
        self.begin_drain(DRAIN_TIMEOUT_DEFAULT).await
    }

    /// Returns true if this session keeps the order. Where the broker counts tries, the broker
    /// does.
    pub(super) fn in_order(&self) -> bool {
        self.delivery().ordered && !L::Session::RETRIED_BY_BROKER
    }
}
