//! Promises of different length: settings that differ, and a promise that is changed.
//!
//! In both the leader is cut off from its peers at the worst moment, and not from the broker: what
//! it acts by is the lease that it has, and what its successor waits for has to be that one.

use std::{fs, process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use reqwest::Method;
use serde_json::json;
use tokio::process::Command;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    kill::{VictimChoice, answers, choose},
    partition::links,
};
use crate::{
    cluster::{
        SOON, api,
        error::ClusterError,
        id_of,
        links::{LinkRule, PacketVerdict},
        member::ClusterMember,
    },
    run_context::RunContext,
};

const UNWRITABLE: &str = "the settings can't be written";
/// Time limit for a member to lead once it was told to, and to run the connectors.
const LEADS_WITHIN: Duration = Duration::from_secs(8);

/// Cuts a member off from all others.
async fn cut_off(context: &RunContext, who: u64) -> Result<u64, NemesisError> {
    let others = context.cluster.members.iter().map(|member| member.id);
    let others = others.filter(|id| *id != who);
    let rules = others.map(|other| LinkRule::both(who, other, PacketVerdict::Drop));
    Ok(links(context)?.add(rules.collect()).await?)
}

/// Proves that a member is not reached any more that was connected before.
async fn is_cut_off(context: &RunContext, who: u64) -> Result<String, NemesisError> {
    let other = if who == 1 { 2 } else { 1 };
    let port = context.cluster.member(other).ports.peer;
    if links(context)?.reach(who, other, port).await {
        return Err(NemesisError::NoEffect(format!("{who} reaches {other}")));
    }
    match links(context)?.met(who).await {
        0 => Err(NemesisError::NoEffect(
            "no packet has met a rule".to_owned(),
        )),
        met => Ok(format!("{who} does not reach {other}, {met} packets met")),
    }
}

/// Differing promises: one member's settings name a promise five times as long as the others' do,
/// and that member leads when it is cut off.
#[derive(Default)]
pub struct DifferingPromises {
    /// The member that has other settings, and those that it had.
    changed: Option<(u64, String)>,
    held: Option<u64>,
}

fn with_promise(settings: &str, failover_ms: u64) -> String {
    let lines = settings.lines().map(|line| {
        if line.starts_with("failover_ms") {
            format!("failover_ms = {failover_ms}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

/// Starts a member anew, and waits until it answers.
async fn restart(member: &ClusterMember) -> Result<(), ClusterError> {
    member.kill();
    member.start(&[])?;
    answers(member, SOON).await
}

/// Lets a member lead, and waits until it runs the connectors.
async fn lets_lead(context: &RunContext, who: u64) -> Result<(), ClusterError> {
    let member = context.cluster.member(who);
    let name = format!("member-{who}");
    api::until(
        "the one with another promise to lead",
        LEADS_WITHIN,
        || async {
            let told = api::get(&member.admin("/v1/cluster/leader")).await?;
            if told["leader"]["name"] == *name {
                if told["connector_server"]["name"] == *name {
                    return Ok(());
                }
                let seen = format!("{name} does not run the connectors yet: {told}");
                return Err(ClusterError::NotYet(seen));
            }
            let leader = told["leader"]["name"].as_str().and_then(id_of);
            let nobody = || ClusterError::NotYet(format!("nobody leads: {told}"));
            let leader = context.cluster.member(leader.ok_or_else(nobody)? as u64);
            let url = leader.admin("/v1/cluster/transfer-leadership");
            let answer = api::call(Method::POST, &url, json!({"to": name}).to_string()).await?;
            let seen = format!("{name} was told to: {answer:?}");
            Err(ClusterError::NotYet(seen))
        },
    )
    .await?;
    // Those that wait for messages are what an overlap is seen by.
    api::until("its connectors", LEADS_WITHIN, || async {
        let told = api::get(&member.admin("/v1/connectors")).await?;
        let list = told["connectors"].as_array().cloned().unwrap_or_default();
        let active = list.iter().all(|it| it["state"] == "active");
        let seen = || ClusterError::NotYet(told.to_string());
        active.then_some(()).ok_or_else(seen)
    })
    .await
}

#[async_trait]
impl Nemesis for DifferingPromises {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let who = choose(context, VictimChoice::Follower, rng).await?[0];
        let member = context.cluster.member(who);
        let before = fs::read_to_string(member.config());
        let before = before.map_err(NemesisError::io("the settings can't be read"))?;
        let (short, long) = (context.plan.failover_ms, context.plan.failover_ms * 5);
        let written = fs::write(member.config(), with_promise(&before, long));
        written.map_err(NemesisError::io(UNWRITABLE))?;
        self.changed = Some((who, before));
        restart(member).await?;
        lets_lead(context, who).await?;
        self.held = Some(cut_off(context, who).await?);
        let told = format!("promises {long} and {short} ms; cut off, the leader with {long}:");
        Ok(FaultTarget::new(&told, vec![who]))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let nothing = || NemesisError::NoEffect("nothing was changed".to_owned());
        let (who, _) = self.changed.as_ref().ok_or_else(nothing)?;
        is_cut_off(context, *who).await
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        if let Some(held) = self.held.take() {
            links(context)?.remove(held).await?;
        }
        let Some((who, before)) = self.changed.take() else {
            return Ok(());
        };
        let member = context.cluster.member(who);
        fs::write(member.config(), before).map_err(NemesisError::io(UNWRITABLE))?;
        // One that doesn't answer may be under another fault.
        let _ = restart(member).await;
        Ok(())
    }
}

/// The promise of the cluster is changed, by command; half of the time the leader is cut off
/// while that is under way. It is changed back in the end.
#[derive(Default)]
pub struct PromiseChange {
    leader: u64,
    to: u64,
    changed: bool,
    held: Option<u64>,
    task: Option<tokio::task::JoinHandle<Result<String, NemesisError>>>,
}

/// Runs `quorate cluster set failover_ms` for a member; gives the output.
async fn set(member: &ClusterMember, failover_ms: u64) -> Result<String, NemesisError> {
    let mut command = member.command(&member.quorate);
    command.args(["cluster", "set", "failover_ms", &failover_ms.to_string()]);
    command.args(["--admin", &member.admin("")]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Command::from(command).kill_on_drop(true).output();
    let output = tokio::time::timeout(SOON, output).await;
    let output = output
        .map_err(|_| NemesisError::ProgramFailed(format!("it did not end within {SOON:?}")))?;
    let output = output.map_err(NemesisError::io("quorate can't be run"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(NemesisError::ProgramFailed(said))
    }
}

#[async_trait]
impl Nemesis for PromiseChange {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        self.leader = context
            .cluster
            .leader()
            .await
            .ok_or(NemesisError::NoLeader)?;
        let leader = context.cluster.member(self.leader).clone();
        // Twice to four times as long, and at times shorter.
        let times = *[2.0, 2.5, 4.0, 0.8].choose(rng).unwrap_or(&2.0);
        self.to = (context.plan.failover_ms as f64 * times) as u64;
        let after = Duration::from_millis(rng.random_range(0..=100));
        let cuts = rng.random_ratio(1, 2);
        let to = self.to;
        self.changed = true;
        self.task = Some(tokio::spawn(async move { set(&leader, to).await }));
        if cuts {
            tokio::time::sleep(after).await;
            self.held = Some(cut_off(context, self.leader).await?);
        }
        let cut = if cuts { ", and cut off meanwhile" } else { "" };
        let told = format!("promise from {} to {to} ms{cut}:", context.plan.failover_ms);
        Ok(FaultTarget::new(&told, vec![self.leader]))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        if self.held.is_some() {
            return is_cut_off(context, self.leader).await;
        }
        match self.task.take_if(|task| task.is_finished()) {
            Some(task) => task.await?,
            None => Err(NemesisError::NoEffect("it is not changed yet".to_owned())),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        if let Some(held) = self.held.take() {
            links(context)?.remove(held).await?;
        }
        if let Some(task) = self.task.take() {
            // Asked of a leader that was cut off it may wait for long.
            task.abort();
        }
        if !self.changed {
            return Ok(());
        }
        // Refused while the change before is under way, or nobody leads.
        let changed_back = api::until("the promise to be as before", SOON, || async {
            let leader = context
                .cluster
                .leader()
                .await
                .ok_or(NemesisError::NoLeader)?;
            set(context.cluster.member(leader), context.plan.failover_ms).await
        });
        changed_back.await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_promise_of_settings_is_changed() {
        let before = "name = \"member-1\"\nfailover_ms = 500\ninsecure = true\n";
        let after = with_promise(before, 1250);
        assert_eq!(after, before.replace("500", "1250"));
        assert_eq!(with_promise(&after, 500), before);
    }
}
