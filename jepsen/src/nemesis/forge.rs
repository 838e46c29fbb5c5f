//! A leader that the others take for dead while it lives and acts on under its lease.

use std::sync::Arc;

use async_trait::async_trait;
use rand::rngs::StdRng;
use serde_json::Value;

use super::{
    contract::{Nemesis, Target},
    error::NemesisError,
    partition,
};
use crate::{
    cluster::{api, id_of},
    run_context::Bed,
};

/// Forges the death of the leader.
#[derive(Default)]
pub struct Death {
    held: Option<u64>,
    successor: Option<Successor>,
}

/// Who takes over from a member that is taken for dead and lives.
pub(super) struct Successor {
    of: u64,
    /// The others.
    others: Vec<u64>,
    /// Its process.
    pid: Option<u32>,
    /// The epoch of the takeover before.
    before: u64,
}

impl Successor {
    /// Before its death is forged.
    pub async fn of(bed: &Bed, of: u64, others: &[u64]) -> Result<Successor, NemesisError> {
        let pid = bed.cluster.member(of).pid();
        Ok(Successor {
            of,
            others: others.to_vec(),
            pid: Some(pid.ok_or(NemesisError::NotRunning(of))?),
            before: newest(bed, of).await?["epoch"].as_u64().unwrap_or(0),
        })
    }

    /// That somebody took over from it because of its death, and its process lives.
    pub async fn seen(&self, bed: &Bed) -> Result<String, NemesisError> {
        if bed.cluster.member(self.of).pid() != self.pid {
            let seen = format!("the process of member {} is another now", self.of);
            return Err(NemesisError::NoEffect(seen));
        }
        let mut seen = "nobody tells of a takeover".to_owned();
        for other in &self.others {
            let Ok(told) = newest(bed, *other).await else {
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
async fn newest(bed: &Bed, member: u64) -> Result<Value, NemesisError> {
    let url = bed.cluster.member(member).admin("/v1/cluster/takeovers");
    let told = api::get(&url).await?;
    // The first reign may not have been written of yet.
    Ok(told["takeovers"].get(0).cloned().unwrap_or_default())
}

#[async_trait]
impl Nemesis for Death {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError> {
        let order = partition::order(bed, dice).await?;
        let (who, others) = (order[0], &order[1..]);
        self.successor = Some(Successor::of(bed, who, others).await?);
        let port = bed.cluster.member(who).ports.peer;
        let forged = partition::links(bed)?.play_dead(who, others, port);
        self.held = Some(forged.await?);
        Ok(Target::of("death forged of", vec![who]))
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, NemesisError> {
        let nobody = || NemesisError::NoEffect("nobody is taken for dead".to_owned());
        let successor = self.successor.as_ref().ok_or_else(nobody)?;
        successor.seen(bed).await
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(partition::links(bed)?.remove(held).await?),
            None => Ok(()),
        }
    }
}
