//! Driver of the reign: follows the leadership, proposes takeovers and releases, keeps the lease.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use metrics::gauge;
use quorate_clock::Instant;
use quorate_ipc::lease::{BootInstant, ClockOffsets, LeaseWriter, RESPITE};
use quorate_state::{self as state, ConnectionsByConnector, ConnectorProgress};
use quorate_types::{EffectiveTiming, Leadership, MemberId, ProposeError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tracing::{Instrument, Span, info, warn};

use super::{
    connectors_view::ConnectorsView,
    lease_lapses::LapseTracker,
    reign_status::ReignStatus,
    release_sequence::{REAP_TIMEOUT, ReleaseRequest},
    takeover_policy::{ProposalOutcome, ReleaseProposal, TakeoverDecision, TakeoverPolicy},
    takeover_reason::{takeover_reason, takeover_span},
};

/// Proposer of the reign's commands, as leader of exactly one term: never forwarded, never retried.
/// `Ok` means committed and applied here.
#[async_trait]
pub trait CommandProposer: Send + Sync + 'static {
    /// Proposes `TakeOver {member, term}`.
    async fn take_over(
        &self,
        member: MemberId,
        term: u64,
        deadline: Instant,
    ) -> Result<(), ProposeError>;
    /// Proposes `Release {epoch}`.
    async fn release(&self, term: u64, epoch: u64, deadline: Instant) -> Result<(), ProposeError>;
    /// Proposes `RecordTakeover {takeover}`, in the takeover's term.
    async fn record_takeover(
        &self,
        takeover: state::Takeover,
        deadline: Instant,
    ) -> Result<(), ProposeError>;
    /// Proposes `RecordBrokerConnections {member, connections}`: from any member, and harmless when
    /// repeated.
    async fn record_broker_connections(
        &self,
        member: MemberId,
        connections: ConnectionsByConnector,
        deadline: Instant,
    ) -> Result<(), ProposeError>;
    /// Proposes `AdvanceProgress {epoch, connectors}`: from any member, and harmless when repeated. `Ok`
    /// also where the progress can't be written any more, since the reign or a connector is gone.
    async fn advance(
        &self,
        epoch: u64,
        connectors: Vec<ConnectorProgress>,
        deadline: Instant,
    ) -> Result<(), ProposeError>;
}

pub(super) struct ReignDriver {
    pub me: MemberId,
    pub timing: watch::Receiver<EffectiveTiming>,
    pub page: Arc<LeaseWriter>,
    pub proposer: Arc<dyn CommandProposer>,
    pub leadership: watch::Receiver<Leadership>,
    pub view: watch::Receiver<Arc<ConnectorsView>>,
    pub status: watch::Sender<ReignStatus>,
    pub lapses: LapseTracker,
    /// Number of the drain for which the processes rest. The watch ends when all processes have.
    pub drained: watch::Receiver<u64>,
    pub release_requests: mpsc::Receiver<ReleaseRequest>,
}

/// End of a spawned proposal.
enum FinishedProposal {
    /// Of the takeover in this term.
    TakeOver(u64, ProposalOutcome),
    /// Of the release of this epoch.
    Release(u64),
}

impl ReignDriver {
    /// Runs until the leadership's sender is gone.
    pub(crate) async fn run(mut self) {
        let mut takeover = TakeoverPolicy::new(self.me, self.patience());
        let mut offsets = ClockOffsets::default();
        let (ended, mut finished) = mpsc::channel::<FinishedProposal>(8);
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        let mut withdrawals: FuturesUnordered<BoxFuture<'static, u64>> = FuturesUnordered::new();
        loop {
            // First of all, so that rounds sent from here on have a sample from before.
            offsets.sample();
            let watched = self.drained.has_changed().is_ok();
            takeover.mark_drained(if watched {
                *self.drained.borrow_and_update()
            } else {
                u64::MAX
            });
            let leadership = *self.leadership.borrow_and_update();
            let reign = self.view.borrow_and_update().reign;
            let now = Instant::now();
            takeover.set_patience(self.patience());
            let lease = leadership.lease;
            let decision = takeover.decide(now, &leadership, &reign);
            // The page first: a release claims that no lease lets anything act.
            let lease_end = self.update_lease(&decision, lease, &offsets, now);
            if let Some(term) = decision.propose {
                self.propose(term, &leadership, ended.clone());
            }
            if let Some(release) = decision.release {
                self.release(release, ended.clone());
            }
            if decision.overdue {
                warn!(
                    "a connector process neither stands by nor can be reaped: the reign ends without a release"
                );
            }
            if !takeover.is_releasing() {
                for done in waiting.drain(..) {
                    // The requester may have stopped waiting.
                    let _ = done.send(());
                }
            }
            let look_again = [decision.look_again, lease_end].into_iter().flatten().min();

            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() { break },
                changed = self.view.changed() => if changed.is_err() { break },
                _ = self.drained.changed(), if watched => {}
                Some(ended) = finished.recv() => match ended {
                    FinishedProposal::TakeOver(term, outcome) => takeover.ended(Instant::now(), term, outcome),
                    FinishedProposal::Release(epoch) => takeover.released(epoch),
                },
                Some(request) = self.release_requests.recv() => {
                    let ReleaseRequest { drain, for_good, done, withdrawn } = request;
                    let number = takeover.begin_release(drain, Instant::now() + drain + REAP_TIMEOUT, for_good);
                    waiting.push(done);
                    withdrawals.push(Box::pin(async move {
                        // Nothing is ever sent: the end of the channel is the signal.
                        let _ = withdrawn.await;
                        number
                    }));
                }
                Some(number) = withdrawals.next(), if !withdrawals.is_empty() => takeover.withdraw_release(number),
                () = sleep_until(look_again.unwrap_or(now)), if look_again.is_some() => {}
            }
        }
        self.update_lease(
            &TakeoverDecision::default(),
            Duration::ZERO,
            &offsets,
            Instant::now(),
        );
    }

    fn failover(&self) -> Duration {
        self.timing.borrow().patience.failover
    }

    /// Returns how long a proposal of unknown outcome may take to show.
    fn patience(&self) -> Duration {
        (self.failover() * 4).max(Duration::from_secs(1))
    }

    /// Renews or revokes the lease and publishes the status. Returns when the lease ends.
    fn update_lease(
        &mut self,
        decision: &TakeoverDecision,
        lease: Duration,
        offsets: &ClockOffsets,
        now: Instant,
    ) -> Option<Instant> {
        let respite = lease.mul_f64(RESPITE);
        let granted = decision.act.and_then(|act| {
            let grant = act.grant(lease, offsets, BootInstant::now())?;
            self.page
                .grant(act.epoch, grant.deadline, respite)
                .then_some((act.epoch, grant.left))
        });
        let view = &self.view;
        let in_order = || {
            let view = view.borrow();
            view.connectors.values().any(|it| it.active && it.in_order)
        };
        match (granted, decision.act) {
            (Some((epoch, left)), _) => {
                self.lapses
                    .granted(epoch, now + left, respite, now, in_order);
            }
            (None, Some(_)) => {}
            (None, None) => {
                self.page.revoke();
                self.lapses.over(now, in_order);
            }
        }
        let granted = granted.map(|(_, left)| left);
        let last = self.page.reader().read().epoch;
        let status = self
            .status
            .borrow()
            .after(decision, granted.is_some(), last);
        gauge!("quorate_connector_epoch").set(status.epoch as f64);
        gauge!("quorate_connector_lease_remaining_seconds")
            .set(granted.map_or(0.0, |left| left.as_secs_f64()));
        self.status.send_if_modified(|old| {
            if old.acting != status.acting || old.epoch != status.epoch {
                let verb = if status.acting {
                    "acts"
                } else {
                    "does not act"
                };
                info!(
                    epoch = status.epoch,
                    lapsed = status.lapsed,
                    "this member {verb} as the connector server"
                );
            }
            let changed = *old != status;
            *old = status;
            changed
        });
        granted.map(|left| now + left)
    }

    fn propose(&self, term: u64, leadership: &Leadership, ended: mpsc::Sender<FinishedProposal>) {
        let (proposer, me) = (self.proposer.clone(), self.me);
        let deadline = Instant::now() + self.failover() * 2;
        let span = self.takeover_span(term, leadership);
        let proposing = async move {
            let outcome = match proposer.take_over(me, term, deadline).await {
                Ok(()) => ProposalOutcome::Applied,
                Err(error) => {
                    warn!(term, %error, "the takeover was not confirmed");
                    match error {
                        ProposeError::NoQuorum { .. }
                        | ProposeError::Refused(_)
                        | ProposeError::Sealed(_) => ProposalOutcome::Refused,
                        ProposeError::Unknown(_) => ProposalOutcome::Unknown,
                    }
                }
            };
            // Nothing listens any more once the member stops.
            let _ = ended.send(FinishedProposal::TakeOver(term, outcome)).await;
        };
        tokio::spawn(proposing.instrument(span));
    }

    fn takeover_span(&self, term: u64, leadership: &Leadership) -> Span {
        let view = self.view.borrow();
        let again = view.reign.holder == Some(self.me) && view.reign.term == term;
        let active = view.connectors.values().filter(|spec| spec.active).count();
        let connectors = u32::try_from(active).unwrap_or(u32::MAX);
        takeover_span(term, None, takeover_reason(leadership, again), connectors)
    }

    /// Commits the release. The processes are gone or parked by now, and the page is revoked. The
    /// release claims that no lease of this epoch *or of an earlier one* runs, so after an early
    /// election the proposal waits until that is sure of the earlier ones: at most one lease.
    fn release(&self, release: ReleaseProposal, ended: mpsc::Sender<FinishedProposal>) {
        let ReleaseProposal { term, epoch, from } = release;
        let proposer = self.proposer.clone();
        let patience = self.failover() * 2;
        tokio::spawn(async move {
            if let Some(at) = from {
                sleep_until(at).await;
            }
            match proposer
                .release(term, epoch, Instant::now() + patience)
                .await
            {
                Ok(()) => info!(epoch, "released"),
                // The successor waits for the lease instead, unless the release commits after all.
                Err(error) => warn!(epoch, %error, "the release was not confirmed"),
            }
            let _ = ended.send(FinishedProposal::Release(epoch)).await;
        });
    }
}

#[cfg(test)]
mod tests;
