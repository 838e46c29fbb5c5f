//! Slots for long computations on behalf of callers.
//!
//! A computation runs on a thread of its own, a few at a time, and no longer than its caller waits.
//! On the threads that serve connections it would hold up everything that waits there. Where it
//! went on after its caller had gone, or beside a dozen others of its kind, it would take the
//! processors from all the same. And where all processors are wanted it stands behind the rest of
//! the member: a heartbeat that waits for a processor costs the lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use http::StatusCode;
use rustix::process::setpriority_process;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::problem::ApiProblem;

/// The time that a call waits for a slot before it is refused.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The nice value of the threads, as of connector processes: a third of the share of the
/// member's others where all want the processor.
const BEHIND_THE_REST: i32 = 5;

/// A few slots for long computations.
#[derive(Clone)]
pub(super) struct ComputeSlots(Arc<Semaphore>);

/// One slot. It is free again once its work has ended, and not before.
pub(super) struct ComputeSlot {
    _held: OwnedSemaphorePermit,
}

/// The flag by which the work learns that its caller has gone.
#[derive(Clone, Default)]
pub(super) struct CallerGone(Arc<AtomicBool>);

impl CallerGone {
    #[cfg(test)]
    pub(super) fn already() -> CallerGone {
        CallerGone(Arc::new(AtomicBool::new(true)))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The guard that the caller's call holds: dropping it sets the flag.
struct CallerGuard(CallerGone);

impl Drop for CallerGuard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl ComputeSlots {
    pub(super) fn new(places: usize) -> ComputeSlots {
        ComputeSlots(Arc::new(Semaphore::new(places)))
    }

    /// Waits for a slot, for a bounded time.
    pub(super) async fn acquire(&self) -> Result<ComputeSlot, ApiProblem> {
        let place = tokio::time::timeout(WAIT_MAX, self.0.clone().acquire_owned());
        match place.await {
            Ok(Ok(permit)) => Ok(ComputeSlot { _held: permit }),
            Ok(Err(_)) | Err(_) => Err(ApiProblem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "nothing was done: this member is busy with other calls of this kind; try again, or ask another member",
            )),
        }
    }
}

impl ComputeSlot {
    /// Runs the work on a thread of its own. The work should check from time to time whether its
    /// caller has gone.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&CallerGone) -> T + Send + 'static,
    ) -> Result<T, ApiProblem> {
        let gone = CallerGone::default();
        let _caller = CallerGuard(gone.clone());
        let (done, awaited) = oneshot::channel();
        let thread = thread::Builder::new().name("bench".into()).spawn(move || {
            // Of this thread alone. Where it can't be had, the work is done all the same.
            let _ = setpriority_process(None, BEHIND_THE_REST);
            let _place = self;
            // The caller may have gone.
            let _ = done.send(work(&gone));
        });
        thread.map_err(|error| {
            ApiProblem::internal(format!("no thread can be had for this call: {error}"))
        })?;
        awaited.await.map_err(|_| {
            ApiProblem::internal("the work for this call has failed; nothing was written")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn caller_gone_ends_work_and_frees_slot() {
        let slots = ComputeSlots::new(1);
        let place = slots.acquire().await.ok().unwrap();
        let (began, begun) = mpsc::channel();
        let call = tokio::spawn(place.run(move |gone| {
            began.send(()).unwrap();
            while !gone.is_set() {
                std::thread::yield_now();
            }
        }));
        tokio::task::spawn_blocking(move || begun.recv_timeout(Duration::from_secs(30)).unwrap())
            .await
            .unwrap();
        assert_eq!(slots.0.available_permits(), 0);
        call.abort();
        // there is no place before the work has ended
        assert!(slots.acquire().await.is_ok());
    }
}
