//! Follows leadership, asks for the reign, and keeps the lease page.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use metrics::gauge;
use quorate_planted::{Mutant, planted};
use quorate_raft::{Leadership, MemberId, Pace, ProposeError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tracing::{info, warn};

use super::{
    lease::{BootInstant, Offsets, Page},
    lease_length::LeaseLength,
    takeover::{Act, Outcome, Takeover},
    view::{Reign, View},
};
use crate::state::{self, Connections};

/// Puts the commands of the reign into the log, as leader of exactly one term:
/// never forwarded, never retried. `Ok` means committed and applied here.
#[async_trait]
pub trait Proposer: Send + Sync + 'static {
    /// `TakeOver {member, term}`
    async fn take_over(
        &self,
        member: MemberId,
        term: u64,
        deadline: Instant,
    ) -> Result<(), ProposeError>;
    /// `Release {epoch}`
    async fn release(&self, term: u64, epoch: u64, deadline: Instant) -> Result<(), ProposeError>;
    /// `Explain {takeover}`, in the takeover's term.
    async fn explain(
        &self,
        takeover: state::Takeover,
        deadline: Instant,
    ) -> Result<(), ProposeError>;
    /// `Connected {member, connections}`: from any member, and harmless when repeated.
    async fn connected(
        &self,
        member: MemberId,
        connections: Connections,
        deadline: Instant,
    ) -> Result<(), ProposeError>;
}

/// Whether this member acts as the connector server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It leads, has taken over in its term, and its lease runs.
    pub acting: bool,
    /// It was elected and its takeover is on the way: processes prepare.
    pub elected: bool,
    /// The epoch of its reign; 0 when it never had one.
    pub epoch: u64,
    /// From when on connectors without a fence of the broker may act; `None`: not yet known.
    pub clear_at: Option<Instant>,
}

/// An orderly end of the reign.
pub(super) struct LetGo {
    /// Take over nothing in this term until then; `None`: never again.
    pub until: Option<Instant>,
    /// Whether to commit the release: only when all processes are gone or parked.
    pub commit: bool,
    /// Told when it is done, or has failed.
    pub done: oneshot::Sender<()>,
}

pub(super) struct Reigning {
    pub me: MemberId,
    pub pace: watch::Receiver<Pace>,
    pub page: Arc<Page>,
    pub proposer: Arc<dyn Proposer>,
    pub leadership: watch::Receiver<Leadership>,
    pub view: watch::Receiver<Arc<View>>,
    pub standing: watch::Sender<Standing>,
    pub orders: mpsc::Receiver<LetGo>,
}

/// What a spawned proposal reports: its term and how it ended.
type Ended = (u64, Outcome);

impl Reigning {
    /// Runs until the leadership is no longer told.
    pub async fn run(mut self) {
        let mut takeover = Takeover::new(self.me, self.patience());
        let mut offsets = Offsets::default();
        let mut length = LeaseLength::new(self.pace.borrow().lease.lease);
        let (ended, mut endings) = mpsc::channel::<Ended>(8);
        loop {
            // First of all, so that rounds sent from here on have a sample from before.
            offsets.sample();
            let leadership = *self.leadership.borrow_and_update();
            let reign = self.view.borrow_and_update().reign;
            let now = Instant::now();
            takeover.set_patience(self.patience());
            let wanted = self.pace.borrow().lease.lease;
            let lease = length.of(wanted, leadership.heard_at, now);
            let decision = takeover.decide(now, &leadership, &reign);
            if let Some(term) = decision.propose {
                self.propose(term, ended.clone());
            }
            let lease_end = self.act(decision.act, decision.prepare, lease, &offsets, now);
            let look_again = [decision.look_again, lease_end].into_iter().flatten().min();

            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() { break },
                changed = self.view.changed() => if changed.is_err() { break },
                Some((term, outcome)) = endings.recv() => takeover.ended(Instant::now(), term, outcome),
                Some(order) = self.orders.recv() => {
                    takeover.hold(order.until);
                    self.let_go(order);
                }
                () = sleep_until(look_again.unwrap_or(now).into()), if look_again.is_some() => {}
            }
        }
        self.act(None, false, Duration::ZERO, &offsets, Instant::now());
    }

    fn failover(&self) -> Duration {
        self.pace.borrow().patience.failover
    }

    /// How long a proposal of unknown outcome may take to show.
    fn patience(&self) -> Duration {
        (self.failover() * 4).max(Duration::from_secs(1))
    }

    /// Renews or revokes the page and says so. Returns when the lease ends.
    fn act(
        &self,
        act: Option<Act>,
        elected: bool,
        lease: Duration,
        offsets: &Offsets,
        now: Instant,
    ) -> Option<Instant> {
        let granted = act.and_then(|act| {
            let times = if planted(Mutant::LeaseTooLong) { 10 } else { 1 };
            let deadline = offsets.convert(act.heard_at)? + lease * times;
            let left = match deadline.remaining(BootInstant::now()) {
                None if planted(Mutant::LeaseCheckRemoved) => lease,
                left => left?,
            };
            self.page.grant(act.epoch, deadline).then_some((act, left))
        });
        if act.is_none() {
            self.page.revoke();
        }
        let standing = match granted {
            Some((act, _)) => Standing {
                acting: true,
                elected: false,
                epoch: act.epoch,
                clear_at: act.clear_at,
            },
            None => Standing {
                acting: false,
                elected,
                ..*self.standing.borrow()
            },
        };
        gauge!("quorate_connector_epoch").set(standing.epoch as f64);
        gauge!("quorate_connector_lease_remaining_seconds")
            .set(granted.map_or(0.0, |(_, left)| left.as_secs_f64()));
        self.standing.send_if_modified(|old| {
            if old.acting != standing.acting || old.epoch != standing.epoch {
                let verb = if standing.acting {
                    "acts"
                } else {
                    "does not act"
                };
                info!(
                    epoch = standing.epoch,
                    "this member {verb} as the connector server"
                );
            }
            let changed = *old != standing;
            *old = standing;
            changed
        });
        granted.map(|(_, left)| now + left)
    }

    fn propose(&self, term: u64, ended: mpsc::Sender<Ended>) {
        let (proposer, me) = (self.proposer.clone(), self.me);
        let deadline = Instant::now() + self.failover() * 2;
        tokio::spawn(async move {
            let outcome = match proposer.take_over(me, term, deadline).await {
                Ok(()) => Outcome::Applied,
                Err(error) => {
                    warn!(term, %error, "the takeover was not confirmed");
                    match error {
                        ProposeError::NoQuorum { .. } | ProposeError::Refused(_) => {
                            Outcome::Refused
                        }
                        ProposeError::Unknown(_) => Outcome::Unknown,
                    }
                }
            };
            // Nobody listens any more once the member stops.
            let _ = ended.send((term, outcome)).await;
        });
    }

    /// Revokes the page now and commits the release. The processes are gone or parked by
    /// now. The release says that no lease of this epoch *or of an earlier one* runs, so
    /// after an early election it waits until the latter is sure: at most one lease.
    fn let_go(&self, order: LetGo) {
        self.page.revoke();
        self.standing.send_modify(|standing| {
            (standing.acting, standing.elected) = (false, false);
        });
        let Leadership {
            leading,
            term,
            lease_clear_at,
            ..
        } = *self.leadership.borrow();
        let reign: Reign = self.view.borrow().reign;
        let ours = order.commit
            && leading
            && reign.holder == Some(self.me)
            && reign.term == term
            && !reign.released
            && (reign.clear || lease_clear_at.is_some());
        let clear_at = lease_clear_at.filter(|_| !reign.clear);
        let proposer = self.proposer.clone();
        let deadline = Instant::now() + self.failover() * 2;
        tokio::spawn(async move {
            if ours {
                if let Some(at) = clear_at {
                    sleep_until(at.into()).await;
                }
                match proposer.release(term, reign.epoch, deadline).await {
                    Ok(()) => info!(epoch = reign.epoch, "released"),
                    // The successor waits for the lease instead.
                    Err(error) => {
                        warn!(epoch = reign.epoch, %error, "the release was not confirmed")
                    }
                }
            }
            let _ = order.done.send(());
        });
    }
}

#[cfg(test)]
mod tests;
