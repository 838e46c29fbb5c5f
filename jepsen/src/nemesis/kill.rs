//! Kills of members by SIGKILL, once or again and again.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use quorate_testkit::error_chain::chain;
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use tokio::task::JoinHandle;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
};
use crate::{
    cancel::CancelToken,
    cluster::{api, error::ClusterError, member::ClusterMember},
    run_context::RunContext,
};

/// Time limit for a member to answer after a start.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// Time limit of one request that asks whether a member answers.
const ONE_ANSWER: Duration = Duration::from_millis(500);

/// Choice of the members that a fault meets.
#[derive(Clone, Copy, Debug)]
pub enum VictimChoice {
    /// A single member.
    One,
    /// A single member that doesn't lead.
    Follower,
    /// The leader.
    Leader,
    /// The smallest number without which the others have no quorum.
    Majority,
    /// Every member.
    All,
}

/// Kill of members; the rng decides which unless it is said.
pub struct MemberKill {
    whom: Option<VictimChoice>,
    killed: Vec<(u64, u32)>,
}

/// Decided by the rng.
pub fn drawn() -> Box<dyn Nemesis> {
    Box::new(MemberKill {
        whom: None,
        killed: Vec::new(),
    })
}

/// Makes a kill of these members.
pub fn new(whom: VictimChoice) -> Box<dyn Nemesis> {
    Box::new(MemberKill {
        whom: Some(whom),
        killed: Vec::new(),
    })
}

/// The members that are meant.
pub async fn choose(
    context: &RunContext,
    whom: VictimChoice,
    rng: &mut StdRng,
) -> Result<Vec<u64>, NemesisError> {
    let mut all: Vec<u64> = context
        .cluster
        .members
        .iter()
        .map(|member| member.id)
        .collect();
    all.shuffle(rng);
    let count = match whom {
        VictimChoice::One => 1,
        VictimChoice::Leader => {
            let leader = context.cluster.leader().await;
            return Ok(vec![leader.ok_or(NemesisError::NoLeader)?]);
        }
        VictimChoice::Follower => {
            let leader = context
                .cluster
                .leader()
                .await
                .ok_or(NemesisError::NoLeader)?;
            all.retain(|id| *id != leader);
            1
        }
        VictimChoice::Majority => all.len() / 2 + 1,
        VictimChoice::All => all.len(),
    };
    all.truncate(count);
    Ok(all)
}

#[async_trait]
impl Nemesis for MemberKill {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let whom = self.whom.unwrap_or(match rng.random_range(0..10) {
            0..=3 => VictimChoice::Leader,
            4..=5 => VictimChoice::One,
            6..=7 => VictimChoice::Majority,
            _ => VictimChoice::All,
        });
        let ids = choose(context, whom, rng).await?;
        for id in &ids {
            let member = context.cluster.member(*id);
            if let Some(pid) = member.pid() {
                self.killed.push((*id, pid));
            }
        }
        for id in &ids {
            context.cluster.member(*id).kill();
        }
        Ok(FaultTarget::new("killed", ids))
    }

    async fn probe(&mut self, _: &Arc<RunContext>) -> Result<String, NemesisError> {
        if self.killed.is_empty() {
            return Err(NemesisError::NoEffect("none of them ran".to_owned()));
        }
        let gone = |pid: &u32| !Path::new("/proc").join(pid.to_string()).exists();
        match self.killed.iter().find(|(_, pid)| !gone(pid)) {
            None => Ok(format!("gone: {:?} (member, process)", self.killed)),
            Some(alive) => Err(NemesisError::NoEffect(format!("alive: {alive:?}"))),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        let ids: Vec<u64> = self.killed.iter().map(|(id, _)| *id).collect();
        Ok(start(context, &ids).await?)
    }
}

/// Starts members that don't run, and waits until they answer.
pub async fn start(context: &RunContext, ids: &[u64]) -> Result<(), ClusterError> {
    for id in ids {
        context.cluster.member(*id).start(&[])?;
    }
    for id in ids {
        let _ = answers(context.cluster.member(*id), ANSWERS_WITHIN).await;
    }
    Ok(())
}

/// Waits until a member answers.
pub async fn answers(member: &ClusterMember, limit: Duration) -> Result<(), ClusterError> {
    let url = member.admin("/health/live");
    let asked = api::until("an answer", limit, || async {
        if member.pid().is_none() {
            return Ok(false);
        }
        let asked = api::accepted(reqwest::Method::GET, &url, String::new());
        match tokio::time::timeout(ONE_ANSWER, asked).await {
            Ok(answered) => answered.map(|_| true),
            Err(_) => Err(ClusterError::Slow {
                url: url.clone(),
                limit: ONE_ANSWER,
            }),
        }
    })
    .await?;
    if asked {
        Ok(())
    } else {
        Err(ClusterError::Ended { member: member.id })
    }
}

/// Members are killed and started again all the while, sooner than they can settle.
#[derive(Default)]
pub struct KillStorm {
    cancel: CancelToken,
    task: Option<JoinHandle<u64>>,
    kills: Arc<std::sync::atomic::AtomicU64>,
}

#[async_trait]
impl Nemesis for KillStorm {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let mut ids = choose(context, VictimChoice::All, rng).await?;
        // One alone, a minority that changes, or everyone in turn.
        ids.truncate(rng.random_range(1..=ids.len()));
        let pause = Duration::from_millis(rng.random_range(50..=context.plan.failover_ms * 2));
        let (context, cancel, kills) = (context.clone(), self.cancel.clone(), self.kills.clone());
        let target = FaultTarget::new("killed in turn:", ids.clone());
        self.task = Some(tokio::spawn(async move {
            let mut done = 0;
            for id in ids.iter().cycle() {
                let member = context.cluster.member(*id);
                if member.kill() {
                    done += 1;
                    kills.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                if let Err(error) = member.start(&[]) {
                    context.note_trouble(chain(&error));
                }
                if cancel.cancelled_within(pause).await {
                    break;
                }
            }
            done
        }));
        Ok(target)
    }

    async fn probe(&mut self, _: &Arc<RunContext>) -> Result<String, NemesisError> {
        match self.kills.load(std::sync::atomic::Ordering::Relaxed) {
            0 => Err(NemesisError::NoEffect("nobody was killed yet".to_owned())),
            kills => Ok(format!("{kills} killed so far")),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        self.cancel.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
        let all: Vec<u64> = context
            .cluster
            .members
            .iter()
            .map(|member| member.id)
            .collect();
        Ok(start(context, &all).await?)
    }
}
