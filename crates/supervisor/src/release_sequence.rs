//! Sequence by which a member releases its reign in an orderly way, seen from its requester.
//!
//! # The steps, in their order
//!
//! 1. The requester sends a [`ReleaseRequest`] to the reign driver, which asks for no reign from
//!    then on, and has the reconciler drain the connectors: consumers are cancelled, what is in
//!    flight finishes within the request's drain.
//! 2. The processes stand by. One that doesn't is killed and reaped, for which it has
//!    [`REAP_TIMEOUT`] beyond the drain. If that fails too, the reign ends without a release.
//! 3. The lease is revoked. Only then `Release` is proposed: it claims that no lease of the epoch
//!    runs (see `takeover_policy::release_progress` for why that stays true).
//! 4. Once the proposal has ended, whatever its outcome, the driver notifies the requester through
//!    `done`. From the moment at which the driver has the request a requester waits no longer than
//!    the drain, the reaping and three failover times: the next leader waits for the lease where
//!    the release was not committed.
//! 5. The requester holds a [`ReleaseGuard`] for as long as this member must not take over again,
//!    that is over a transfer of the leadership. Its end closes `withdrawn`, by which the driver
//!    sees that the request is withdrawn: when no other one is left, a member that still leads
//!    takes over again, under a new epoch. After a request that is for good it never does.
//!
//! The guard exists from the first step on, so a requester that is dropped while it waits has
//! withdrawn its request, and no member is left without a reign by it.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Time beyond its drain for a process to be killed and reaped.
pub(super) const REAP_TIMEOUT: Duration = Duration::from_secs(2);

/// Request to end the reign in an orderly way.
pub(super) struct ReleaseRequest {
    /// Time for what is in flight to finish.
    pub drain: Duration,
    /// True when this member is never to take over again.
    pub for_good: bool,
    /// Notified when the reign is released, or can't be.
    pub done: oneshot::Sender<()>,
    /// Ends when the request is withdrawn: from then on this member may take over again.
    pub withdrawn: oneshot::Receiver<()>,
}

/// Release of the reign, from the request to the guard.
pub(super) struct ReleaseSequence {
    request: ReleaseRequest,
    released: oneshot::Receiver<()>,
    guard: ReleaseGuard,
}

impl ReleaseSequence {
    /// Creates a release whose messages in flight have `drain` to finish.
    pub(crate) fn new(drain: Duration, for_good: bool) -> Self {
        let (held, withdrawn) = oneshot::channel();
        let (done, released) = oneshot::channel();
        ReleaseSequence {
            request: ReleaseRequest {
                drain,
                for_good,
                done,
                withdrawn,
            },
            released,
            guard: ReleaseGuard { _held: held },
        }
    }

    /// Sends the request to the reign driver and waits until the reign is released, can't be, or
    /// the time for it is over. With no driver left there is nothing to release.
    pub(crate) async fn run(
        self,
        driver: &mpsc::Sender<ReleaseRequest>,
        failover: impl FnOnce() -> Duration,
    ) -> ReleaseGuard {
        let ReleaseSequence {
            request,
            released,
            guard,
        } = self;
        let drain = request.drain;
        if driver.send(request).await.is_ok() {
            // Late or without an answer: the guard holds what has been reached.
            let _ = timeout(drain + REAP_TIMEOUT + failover() * 3, released).await;
        }
        guard
    }
}

/// Guard of a released reign: before it is dropped this member takes over no more in its term.
#[must_use = "once it is dropped, a member that still leads takes over again"]
pub struct ReleaseGuard {
    _held: oneshot::Sender<()>,
}
