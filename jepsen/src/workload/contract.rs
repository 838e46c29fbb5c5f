//! Contract of a workload: what its clients do before, during and after the faults.

use std::sync::Arc;

use async_trait::async_trait;

use super::error::WorkloadError;
use crate::{run_context::Bed, stop::Stop};

/// A workload.
#[async_trait]
pub trait Workload: Send + Sync {
    /// What has to be there before the clients begin.
    async fn prepare(&self, _bed: &Arc<Bed>) -> Result<(), WorkloadError> {
        Ok(())
    }

    /// The clients' work, until it is stopped.
    async fn work(&self, bed: &Arc<Bed>, stop: &Stop);

    /// What is read in the end, once everything is healed.
    async fn finish(&self, _bed: &Arc<Bed>) -> Result<(), WorkloadError> {
        Ok(())
    }

    /// How many connectors should be active.
    fn connectors(&self) -> usize {
        0
    }

    /// Messages that are still in the broker.
    async fn left(&self, _bed: &Arc<Bed>) -> Option<Vec<String>> {
        None
    }
}
