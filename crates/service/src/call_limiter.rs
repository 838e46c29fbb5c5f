//! Limit of the calls that run at a time on one member.
//!
//! Clients and messages have places of their own. A client that takes its time keeps a place for as
//! long, and enough of them may have all; the connectors' messages are handled all the same, and
//! the other way round.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api::Origin;

/// Places for each sort of call.
pub(super) const EACH_MAX: usize = 8192;

/// One place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct CallPermit {
    _permit: OwnedSemaphorePermit,
}

/// Places of a member.
pub(super) struct CallLimiter {
    clients: Arc<Semaphore>,
    messages: Arc<Semaphore>,
    calls_max: usize,
}

impl CallLimiter {
    pub(super) fn new(each_max: usize) -> CallLimiter {
        CallLimiter {
            clients: Arc::new(Semaphore::new(each_max)),
            messages: Arc::new(Semaphore::new(each_max)),
            calls_max: each_max,
        }
    }

    /// Takes a place for a call; `None`, which is counted, when all of its sort are taken.
    pub(super) fn take(&self, origin: &Origin) -> Option<CallPermit> {
        let (places, what) = match origin {
            Origin::Message(_) => (&self.messages, "message"),
            Origin::Http(_) | Origin::Admin => (&self.clients, "request"),
        };
        let permit = places.clone().try_acquire_owned().ok();
        if permit.is_none() {
            count_refused(what);
        }
        permit.map(|permit| CallPermit { _permit: permit })
    }

    /// Returns how many places are taken.
    pub(super) fn taken(&self) -> usize {
        let free = self.clients.available_permits() + self.messages.available_permits();
        2 * self.calls_max - free
    }

    pub(super) fn each_max(&self) -> usize {
        self.calls_max
    }
}

/// Counts a refusal for want of room.
pub(crate) fn count_refused(what: &'static str) {
    metrics::counter!("quorate_refused_total", "what" => what).increment(1);
}
