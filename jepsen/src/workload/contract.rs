//! Contract of a workload: what its clients do before, during and after the faults.

use std::sync::Arc;

use async_trait::async_trait;

use super::error::WorkloadError;
use crate::{cancel::CancelToken, run_context::RunContext};

/// Work of clients during a run.
#[async_trait]
pub trait Workload: Send + Sync {
    /// Makes what has to be there before the clients begin.
    async fn prepare(&self, _bed: &Arc<RunContext>) -> Result<(), WorkloadError> {
        Ok(())
    }

    /// Lets the clients work until they are cancelled.
    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken);

    /// Reads the end, once everything is healed.
    async fn finish(&self, _bed: &Arc<RunContext>) -> Result<(), WorkloadError> {
        Ok(())
    }

    /// Returns the number of connectors that should be active.
    fn connectors(&self) -> usize {
        0
    }

    /// Messages that are still in the broker.
    async fn left(&self, _bed: &Arc<RunContext>) -> Option<Vec<String>> {
        None
    }
}
