//! The runtime of its own for work that others time: consensus, the peer port and the lease.
//!
//! A heartbeat that is answered late is an election, and a lease that is renewed late is a
//! connector server that stops. On the runtime that also runs services, connectors and the HTTP
//! ports both wait behind whatever is ready there: a thousand messages that come at once make a
//! queue of tasks longer than a lease. Threads of its own wait for a processor only, and the kernel
//! gives one soon to a thread that seldom asks.

use std::{future::Future, io};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinError,
};

/// One thread follows the leader or leads, another serves a peer meanwhile.
const THREADS: usize = 2;

/// The runtime. Dropping this ends it, without waiting for the tasks on it.
pub(super) struct ConsensusRuntime(Option<Runtime>);

impl ConsensusRuntime {
    /// Starts its threads, which are called `consensus`.
    pub(super) fn start() -> io::Result<ConsensusRuntime> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("consensus")
            .enable_all()
            .build()?;
        Ok(ConsensusRuntime(Some(runtime)))
    }

    /// Returns the handle to spawn tasks there.
    pub(super) fn handle(&self) -> &Handle {
        let runtime = self.0.as_ref();
        runtime.expect("invariant: taken by drop alone").handle()
    }

    /// Runs `work` there, with everything that it spawns.
    ///
    /// # Errors
    /// `work` panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.handle().spawn(work).await
    }
}

impl Drop for ConsensusRuntime {
    fn drop(&mut self) {
        // A runtime must not be waited for by a task of another one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use quorate_clock::Instant;

    use super::*;

    /// The property that justifies it: whatever blocks the caller's runtime does not hold it up.
    #[tokio::test]
    async fn consensus_runs_while_another_runtime_is_stuck() {
        let dedicated = ConsensusRuntime::start().unwrap();
        let (tick, ticks) = mpsc::channel();
        dedicated.handle().spawn(async move {
            while tick.send(Instant::now()).is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        // This runtime has one thread, and here it stands still.
        thread::sleep(Duration::from_millis(200));
        assert!(ticks.try_iter().count() > 5);
    }

    #[tokio::test]
    async fn panic_is_an_error_and_drop_is_safe() {
        let dedicated = ConsensusRuntime::start().unwrap();
        assert_eq!(dedicated.run(async { 7 }).await.unwrap(), 7);
        let panicked = dedicated.run(async { panic!("no rope") }).await;
        assert!(panicked.unwrap_err().is_panic());
        drop(dedicated);
    }
}
