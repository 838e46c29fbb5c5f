//! Leader that the others take for dead while it lives and acts on under its lease.

use std::sync::Arc;

use async_trait::async_trait;
use rand::rngs::StdRng;
use serde_json::Value;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    partition,
};
use crate::{
    cluster::{api, id_of},
    run_context::RunContext,
};

/// Forges the death of the leader.
#[derive(Default)]
pub struct ForgedDeath {
    held: Option<u64>,
    successor: Option<ForcedSuccessor>,
}

/// Takeover from a member that is taken for dead and lives.
pub(super) struct ForcedSuccessor {
    of: u64,
    /// The other members.
    others: Vec<u64>,
    /// The process of the member.
    pid: Option<u32>,
    /// The epoch of the takeover before.
    before: u64,
}

impl ForcedSuccessor {
    /// Notes what holds before the death is forged.
    pub async fn new(
        context: &RunContext,
        of: u64,
        others: &[u64],
    ) -> Result<ForcedSuccessor, NemesisError> {
        let pid = context.cluster.member(of).pid();
        Ok(ForcedSuccessor {
            of,
            others: others.to_vec(),
            pid: Some(pid.ok_or(NemesisError::NotRunning(of))?),
            before: newest(context, of).await?["epoch"].as_u64().unwrap_or(0),
        })
    }

    /// Proves that somebody took over from the member because of its death, and that its process
    /// lives.
    pub async fn seen(&self, context: &RunContext) -> Result<String, NemesisError> {
        if context.cluster.member(self.of).pid() != self.pid {
            let seen = format!("the process of member {} is another now", self.of);
            return Err(NemesisError::NoEffect(seen));
        }
        let mut seen = "nobody tells of a takeover".to_owned();
        for other in &self.others {
            let Ok(told) = newest(context, *other).await else {
                continue;
            };
            let new = told["epoch"].as_u64() > Some(self.before);
            let from = told["from"].as_str().and_then(id_of) == Some(self.of as usize);
            if new && from && told["reason"] == "death" {
                let (to, epoch) = (&told["to"], &told["epoch"]);
                return Ok(format!("{to} took over under epoch {epoch}, and it lives"));
            }
            seen = format!("the newest takeover at {other}: {told}");
        }
        Err(NemesisError::NoEffect(seen))
    }
}

/// The newest takeover that a member knows of.
async fn newest(context: &RunContext, member: u64) -> Result<Value, NemesisError> {
    let url = context
        .cluster
        .member(member)
        .admin("/v1/cluster/takeovers");
    let told = api::get(&url).await?;
    // The first reign may not have been written of yet.
    Ok(told["takeovers"].get(0).cloned().unwrap_or_default())
}

#[async_trait]
impl Nemesis for ForgedDeath {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let order = partition::order(context, rng).await?;
        let (who, others) = (order[0], &order[1..]);
        self.successor = Some(ForcedSuccessor::new(context, who, others).await?);
        let port = context.cluster.member(who).ports.peer;
        let forged = partition::links(context)?.play_dead(who, others, port);
        self.held = Some(forged.await?);
        Ok(FaultTarget::new("death forged of", vec![who]))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let nobody = || NemesisError::NoEffect("nobody is taken for dead".to_owned());
        let successor = self.successor.as_ref().ok_or_else(nobody)?;
        successor.seen(context).await
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(partition::links(context)?.remove(held).await?),
            None => Ok(()),
        }
    }
}
