//! Long computing on behalf of a caller: on threads of its own, a few at a time, and no
//! longer than somebody waits for it.
//!
//! What computes for seconds on the threads that serve connections holds up whatever waits
//! there. What goes on computing after its caller has gone, or beside a dozen others of its
//! kind, takes the processors from all the same. And where all processors are wanted it stands
//! behind the rest of the member: a heartbeat that waits for a processor costs the lease.

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

/// How long a call waits for a place before it is told to come again.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The nice value of the threads, as of connector processes: a third of the share of the
/// member's others where all want the processor.
const BEHIND_THE_REST: i32 = 5;

/// A few places for long computing.
#[derive(Clone)]
pub(super) struct ComputeSlots(Arc<Semaphore>);

/// One of the places. It is free again once its work has ended, and not before.
pub(super) struct ComputeSlot {
    _held: OwnedSemaphorePermit,
}

/// Tells the work that nobody waits for it any more.
#[derive(Clone, Default)]
pub(super) struct CallerGone(Arc<AtomicBool>);

impl CallerGone {
    #[cfg(test)]
    pub fn already() -> CallerGone {
        CallerGone(Arc::new(AtomicBool::new(true)))
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Dropped with the caller's call.
struct CallerGuard(CallerGone);

impl Drop for CallerGuard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl ComputeSlots {
    pub fn new(places: usize) -> ComputeSlots {
        ComputeSlots(Arc::new(Semaphore::new(places)))
    }

    /// Waits for a place, not for ever.
    pub async fn acquire(&self) -> Result<ComputeSlot, ApiProblem> {
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
    /// Does the work on a thread of its own. It should look from time to time whether its
    /// caller is still there.
    pub async fn run<T: Send + 'static>(
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
            // Whoever waited may have gone.
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
    async fn work_ends_with_its_caller_and_then_gives_its_place_back() {
        let bench = ComputeSlots::new(1);
        let place = bench.acquire().await.ok().unwrap();
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
        assert_eq!(bench.0.available_permits(), 0);
        call.abort();
        // there is no place before the work has ended
        assert!(bench.acquire().await.is_ok());
    }
}
