//! Nothing but reigns: the monitor asks who leads, and the few writes that go on beside it
//! let the log grow.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::contract::Workload;
use crate::{run_context::Bed, stop::Stop};

/// The workload.
#[derive(Default)]
pub struct Election;

#[async_trait]
impl Workload for Election {
    async fn work(&self, _: &Arc<Bed>, stop: &Stop) {
        stop.within(Duration::MAX).await;
    }
}
