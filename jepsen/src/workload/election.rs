//! Nothing but reigns: the monitor asks who leads, and a few writes let the log grow.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::Method;

use super::Workload;
use crate::{bed::Bed, client::Pinned, stop::Stop};

/// The workload.
#[derive(Default)]
pub struct Election;

#[async_trait]
impl Workload for Election {
    async fn work(&self, bed: &Arc<Bed>, stop: &Stop) {
        let client = Pinned::new(Duration::from_millis(300));
        for member in bed.cluster.members.iter().cycle() {
            if stop.within(Duration::from_millis(100)).await {
                return;
            }
            let url = member.admin("/v1/kv/election");
            client.ask(Method::PUT, &url, &[], "x").await;
        }
    }
}
