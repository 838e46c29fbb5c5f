//! Transfer of leadership at somebody's request.

use std::sync::Arc;

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
};
use crate::{cluster::api, run_context::RunContext};

/// Transfer of leadership.
#[derive(Default)]
pub struct LeadershipTransfer {
    from: u64,
}

#[async_trait]
impl Nemesis for LeadershipTransfer {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        self.from = context
            .cluster
            .leader()
            .await
            .ok_or(NemesisError::NoLeader)?;
        let others: Vec<u64> = (1..=context.cluster.members.len() as u64)
            .filter(|id| *id != self.from)
            .collect();
        let nobody = || NemesisError::NotPossible("there is nobody else".to_owned());
        let to = *others.choose(rng).ok_or_else(nobody)?;
        let asked = if rng.random_ratio(1, 2) {
            self.from
        } else {
            to
        };
        let url = context
            .cluster
            .member(asked)
            .admin("/v1/cluster/transfer-leadership");
        let body = json!({"to": format!("member-{to}")}).to_string();
        let (status, text) = api::call(reqwest::Method::POST, &url, body).await?;
        match status {
            200 => Ok(FaultTarget::new(
                "handed over from, to",
                vec![self.from, to],
            )),
            _ => Err(NemesisError::Refused { status, text }),
        }
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        match context.cluster.leader().await {
            Some(now) if now != self.from => Ok(format!("{now} leads")),
            other => Err(NemesisError::NoEffect(format!("the leader is {other:?}"))),
        }
    }

    async fn heal(&mut self, _: &Arc<RunContext>) -> Result<(), NemesisError> {
        Ok(())
    }
}
