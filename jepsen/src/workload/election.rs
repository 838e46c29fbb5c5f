//! Election workload: nothing but reigns.
//!
//! The monitor asks who leads, and the few writes that go on beside it let the log grow.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::contract::Workload;
use crate::{cancel::CancelToken, run_context::RunContext};

/// Workload that only watches reigns.
#[derive(Default)]
pub struct ElectionWorkload;

#[async_trait]
impl Workload for ElectionWorkload {
    async fn work(&self, _: &Arc<RunContext>, cancel: &CancelToken) {
        cancel.cancelled_within(Duration::MAX).await;
    }
}
