//! Teardown of a run: heals everything, and writes down what has come of the members.

use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_testkit::{error_chain::chain, process::send};
use reqwest::Method;

use crate::{
    cancel::CancelToken,
    cluster::{api, member::ClusterMember, shim},
    history::{FinalMember, FinalState},
    nemesis::kill::start,
    run_context::RunContext,
    workload::Workload,
};

/// Time limit after which the cluster counts as not coming back.
const COMES_BACK: Duration = Duration::from_secs(20);
/// Members that are at the same log index and have different states for so long stay apart.
const APART: Duration = Duration::from_secs(4);
/// Lines of a log that are kept of each kind.
const LINES: usize = 200;

/// Heals everything and waits for what should come back.
pub async fn settle(context: &Arc<RunContext>, workload: &dyn Workload) -> FinalState {
    heal(context).await;
    let healed = context.clock.now();
    let connectors = workload.connectors();
    let (writable, active) = tokio::join!(writable(context), active(context, connectors));
    FinalState {
        healed: Some(healed),
        writable,
        active,
        connectors,
        ..FinalState::default()
    }
}

/// Takes back once more what every nemesis should have taken back already, as one may have died on
/// the way.
async fn heal(context: &Arc<RunContext>) {
    if context.plan.mutant.as_deref() == Some("heals-nothing") {
        return;
    }
    if let Some(slowness) = &context.cluster.slowness {
        slowness.set(Duration::ZERO, Duration::ZERO);
    }
    if let Some(links) = &context.links
        && let Err(error) = links.heal().await
    {
        context.note_trouble(format!("the links can't be healed: {}", chain(&error)));
    }
    for switch in &context.cluster.shims {
        let lies = context.plan.mutant.as_deref() == Some(shim::LIES);
        let errno = if lies { -1 } else { 0 };
        if switch
            .wall(0)
            .and_then(|()| switch.sync_errno(errno))
            .is_err()
        {
            context.note_trouble("a switch can't be set back");
        }
    }
    for member in &context.cluster.members {
        let own = member.pid().into_iter();
        for pid in own.chain(member.connectors()) {
            send(Signal::SIGCONT, &[pid]);
        }
    }
    let dead: Vec<u64> = context
        .cluster
        .members
        .iter()
        .filter(|member| member.pid().is_none() && member.excused.lock().is_none())
        .map(|member| member.id)
        .collect();
    if let Err(error) = start(context, &dead).await {
        context.note_trouble(chain(&error));
    }
}

/// Returns the time of the first acknowledged write, tried as by many clients at all members.
async fn writable(context: &Arc<RunContext>) -> Option<u64> {
    let cancel = CancelToken::default();
    let mut tasks = tokio::task::JoinSet::new();
    for member in &context.cluster.members {
        let (context, member, cancel) = (context.clone(), member.clone(), cancel.clone());
        tasks.spawn(async move {
            let url = member.admin("/v1/kv/chaos-end");
            let deadline = Instant::now() + COMES_BACK;
            while Instant::now() < deadline && !cancel.is_cancelled() {
                let asked = api::call(Method::PUT, &url, "x".to_owned());
                let asked = tokio::time::timeout(Duration::from_millis(1500), asked).await;
                if matches!(asked, Ok(Ok((200, _)))) {
                    return Some(context.clock.now());
                }
                cancel.cancelled_within(Duration::from_millis(20)).await;
            }
            None
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok(Some(time)) = ended {
            cancel.cancel();
            return Some(time);
        }
    }
    None
}

/// Returns the time at which all connectors were first seen active.
async fn active(context: &Arc<RunContext>, count: usize) -> Option<u64> {
    if count == 0 {
        return None;
    }
    let deadline = Instant::now() + COMES_BACK;
    while Instant::now() < deadline {
        for member in &context.cluster.members {
            let url = member.admin("/v1/connectors");
            let asked = api::get(&url);
            let asked = tokio::time::timeout(Duration::from_millis(1500), asked).await;
            let told = asked.ok().and_then(Result::ok).unwrap_or_default();
            let list = told["connectors"].as_array().cloned().unwrap_or_default();
            if list.iter().filter(|it| it["state"] == "active").count() >= count {
                return Some(context.clock.now());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

/// Compares what the members hold, and reads their logs.
pub async fn members(context: &Arc<RunContext>, end: &mut FinalState) {
    let deadline = Instant::now() + COMES_BACK;
    let mut apart_since = None;
    loop {
        let mut seen = Vec::new();
        for member in &context.cluster.members {
            seen.push(look(member).await);
        }
        let counted = seen.iter().filter(|it| it.excused.is_none());
        let states: BTreeSet<_> = counted.map(|it| (it.applied, it.hash.clone())).collect();
        let same = states.len() == 1 && states.iter().all(|state| state.1.is_some());
        let index = states.first().map(|state| state.0);
        let told = |state: &(Option<u64>, Option<String>)| state.1.is_some();
        let apart = states.len() > 1 && states.iter().all(|it| Some(it.0) == index && told(it));
        apart_since = apart.then(|| apart_since.unwrap_or_else(Instant::now));
        end.members = seen;
        if same {
            end.converged = Some(context.clock.now());
            break;
        }
        let for_good = apart_since.is_some_and(|since: Instant| since.elapsed() > APART);
        if for_good || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (seen, member) in end.members.iter_mut().zip(&context.cluster.members) {
        (seen.errors, seen.panics) = logged(member);
    }
}

async fn look(member: &ClusterMember) -> FinalMember {
    let held = match member.pid() {
        Some(_) => api::held(&member.admin("")).await.ok(),
        None => None,
    };
    FinalMember {
        member: member.id,
        alive: held.is_some(),
        excused: member.excused.lock().clone(),
        applied: held.as_ref().map(|held| held.0),
        hash: held.map(|held| held.1),
        ..FinalMember::default()
    }
}

/// The lines of a log that are errors, and those that tell of a panic.
fn logged(member: &ClusterMember) -> (Vec<String>, Vec<String>) {
    let text = fs::read(&member.log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let kept = |it: &dyn Fn(&str) -> bool| -> Vec<String> {
        let lines = text.lines().filter(|line| it(line));
        lines.take(LINES).map(str::to_owned).collect()
    };
    let panics = |line: &str| line.contains("panicked at") || line.contains("SIGABRT");
    let errors = |line: &str| line.contains(" ERROR ") || line.starts_with("error");
    let mut panics = kept(&panics);
    panics.extend(
        member
            .ended
            .lock()
            .iter()
            .filter(|status| status.contains("signal"))
            .map(|status| format!("the process ended by itself: {status}")),
    );
    let mut errors = kept(&errors);
    let ended = member.ended.lock();
    errors.extend(
        ended
            .iter()
            .filter(|status| !status.contains("signal"))
            .map(|status| format!("the process ended by itself: {status}")),
    );
    (errors, panics)
}
