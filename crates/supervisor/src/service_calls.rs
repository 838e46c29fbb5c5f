//! Service calls in flight of one channel.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use quorate_log::RateLimit;
use quorate_proto::connector::{Delivery, Outcome, outcome};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::warn;

use super::{connector_spec::ConnectorSpec, gateway::DeliveryGateway};

/// Answer to a delivery, with the incarnation of the process that it is for.
pub(crate) type CallOutcome = (u64, Outcome);

/// Bound of the calls over all sessions and processes of the channel: calls that a lost session
/// left running keep their places, so that quick reconnects don't pile up calls.
pub(crate) struct ServiceCalls {
    under_way: JoinSet<CallOutcome>,
    places: Arc<Semaphore>,
    bound: u16,
    /// Number of the session: a delivery that still waits for a place when its session is over is
    /// void, since the broker hands the message out again.
    session: watch::Sender<u64>,
    log_limit: RateLimit,
}

impl ServiceCalls {
    /// Allows at most `bound` calls at a time.
    pub(crate) fn new(bound: u16) -> Self {
        ServiceCalls {
            under_way: JoinSet::new(),
            places: Arc::new(Semaphore::new(usize::from(bound))),
            bound,
            session: watch::Sender::new(0),
            log_limit: RateLimit::each_second(),
        }
    }

    /// Sets another bound. Later calls wait until those under way are below it.
    pub(crate) fn bound(&mut self, bound: u16) {
        let before = std::mem::replace(&mut self.bound, bound);
        self.places
            .add_permits(usize::from(bound.saturating_sub(before)));
        let fewer = before.saturating_sub(bound);
        if fewer > 0 {
            // The semaphore is fair: no later call gets a place before these are gone.
            let mut gone = Box::pin(self.places.clone().acquire_many_owned(fewer.into()));
            match (&mut gone).now_or_never() {
                Some(Ok(places)) => places.forget(),
                Some(Err(_)) => {}
                None => {
                    tokio::spawn(async move {
                        if let Ok(places) = gone.await {
                            places.forget();
                        }
                    });
                }
            }
        }
    }

    /// Ends the session of the deliveries so far.
    pub(crate) fn session_over(&self) {
        self.session.send_modify(|session| *session += 1);
    }

    /// Calls the service as soon as there is a place.
    pub(crate) fn start(
        &mut self,
        gateway: &Arc<DeliveryGateway>,
        spec: Arc<ConnectorSpec>,
        incarnation: u64,
        epoch: u64,
        delivery: Delivery,
    ) {
        let (gateway, places) = (gateway.clone(), self.places.clone());
        let mut session = self.session.subscribe();
        self.under_way.spawn(async move {
            let id = delivery.delivery;
            let place = tokio::select! {
                place = places.acquire_owned() => place.ok(),
                _ = session.changed() => None,
            };
            let result = match place {
                Some(_place) => {
                    let call = gateway.deliver(&spec, epoch, delivery);
                    // Whatever happens, the message gets an answer.
                    let caught = AssertUnwindSafe(call).catch_unwind().await;
                    let panicked = |_| outcome::Result::Failed("the call panicked".to_owned());
                    Some(caught.unwrap_or_else(panicked))
                }
                None => None,
            };
            (
                incarnation,
                Outcome {
                    delivery: id,
                    result,
                },
            )
        });
    }

    /// Returns the next answer, or waits when no call is under way. Cancel safe.
    pub(crate) async fn next(&mut self) -> CallOutcome {
        loop {
            match self.under_way.join_next().await {
                None => std::future::pending().await,
                // Void: nothing waits for it.
                Some(Ok((_, Outcome { result: None, .. }))) => {}
                Some(Ok(answer)) => return answer,
                Some(Err(error)) => {
                    if let Some(left_out) = self.log_limit.due("") {
                        warn!(%error, left_out, "a call of a service broke off");
                    }
                }
            }
        }
    }
}
