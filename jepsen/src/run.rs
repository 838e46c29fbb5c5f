//! Course of one run: set up, clients beside nemeses, heal, look.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_testkit::{error_chain::chain, netns::NamespaceNet, scratch::ScratchFolder};
use tokio::task::JoinSet;

use crate::{
    cancel::CancelToken,
    cluster::{ChaosCluster, error::ClusterError, links::LinkRules},
    history::FinalState,
    host_monitor, leader_monitor,
    nemesis::{self, error::NemesisChoiceError},
    plan::{RunPlan, SkippedNemesis},
    planner::{self, RunRequest},
    record_file::{self, RecordFileError},
    run_clock::RunClock,
    run_context::{RunContext, RunJournals},
    teardown,
    test_broker::TestBroker,
    workload::{self, error::WorkloadError},
};

/// Time limit for everything after the clients' work.
const ENDS_WITHIN: Duration = Duration::from_secs(180);

/// Failure of the harness: nothing is known of the run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The run was cancelled before it was over.
    #[error("it was asked to end")]
    Cancelled,
    /// The nemeses can't be had.
    #[error(transparent)]
    Nemesis(#[from] NemesisChoiceError),
    /// The workload can't be had, prepared or finished.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The members don't come to be voters of one cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A file of the run can't be written.
    #[error(transparent)]
    File(#[from] RecordFileError),
    /// The folder for what ends with the run can't be made.
    #[error("the scratch folder can't be made")]
    Scratch(#[source] io::Error),
    /// The folders, disks or settings of the members can't be made.
    #[error("the members can't be prepared")]
    Members(#[source] io::Error),
    /// The data or the logs of the members can't be kept.
    #[error("the members' data and logs can't be kept")]
    Data(#[source] io::Error),
}

/// Runs a request in a folder of its own below `out`; gives the folder. What becomes of the run is
/// for the judge to say.
pub async fn run(
    request: &RunRequest,
    out: &Path,
    keep: bool,
    cancel: &CancelToken,
) -> Result<PathBuf, RunError> {
    let work = workload::named(&request.workload)?;
    let net = if request.loopback {
        None
    } else {
        NamespaceNet::new(request_members(request)).map(Arc::new)
    };
    let plan = here(planner::decide(request), net.is_some())?;
    let folder = make_folder(&plan, out)?;
    println!("folder: {}", folder.display());
    record_file::write(&folder.join("plan.json"), &plan)?;
    let scratch = ScratchFolder::make("quorate-chaos-").map_err(RunError::Scratch)?;
    let broker = if workload::needs_broker(&plan.workload) {
        Some(Arc::new(start_broker(net.as_deref()).await))
    } else {
        None
    };
    let cluster = ChaosCluster::prepare(&plan, net.clone(), scratch, &folder).await;
    let cluster = cluster.map_err(RunError::Members)?;
    unless_asked(cancel, cluster.boot()).await?;
    let clock = RunClock::start();
    let context = Arc::new(RunContext {
        links: net.map(LinkRules::new),
        journals: RunJournals::create(&folder, clock)?,
        folder: folder.clone(),
        clock,
        cluster,
        broker,
        trouble: Mutex::default(),
        plan,
    });
    unless_asked(cancel, work.prepare(&context)).await?;
    let host = host_monitor::HostMonitor::start(clock);
    let asked_to_end = storm(&context, work.as_ref(), cancel).await;
    if asked_to_end {
        // What was written down says nothing of the product; nobody is to judge it.
        context.journals.finish()?;
        return Err(RunError::Cancelled);
    }
    let ended = tokio::time::timeout(ENDS_WITHIN, end(&context, work.as_ref())).await;
    let mut end = ended.unwrap_or_else(|_| {
        context.note_trouble(format!("the end was not over within {ENDS_WITHIN:?}"));
        FinalState::default()
    });
    end.trouble.clone_from(&context.trouble.lock());
    record_file::write(&folder.join("host.json"), &host.finish())?;
    record_file::write(&folder.join("final.json"), &end)?;
    context.journals.finish()?;
    if keep {
        keep_data(&context).map_err(RunError::Data)?;
    }
    // Whoever still holds the context, nothing of the run is to go on.
    for member in &context.cluster.members {
        member.end();
        member.keep_log().map_err(RunError::Data)?;
    }
    Ok(folder)
}

/// Awaits a step, unless the run is cancelled meanwhile; what there is is taken down then.
async fn unless_asked<E: Into<RunError>>(
    cancel: &CancelToken,
    what: impl Future<Output = Result<(), E>>,
) -> Result<(), RunError> {
    tokio::select! {
        done = what => done.map_err(Into::into),
        _ = cancel.cancelled_within(Duration::MAX) => Err(RunError::Cancelled),
    }
}

fn request_members(request: &RunRequest) -> usize {
    planner::decide(request).members
}

async fn start_broker(net: Option<&NamespaceNet>) -> TestBroker {
    TestBroker::start(net.map_or(std::net::Ipv4Addr::LOCALHOST, NamespaceNet::host)).await
}

/// Leaves out of a plan what can't be had here.
fn here(mut plan: RunPlan, net: bool) -> Result<RunPlan, NemesisChoiceError> {
    if !net {
        plan.network = "loopback".to_owned();
    }
    for name in plan.nemeses.iter().filter(|name| *name != "none") {
        let kind = nemesis::named(name)?;
        let reason = if kind.net && !net {
            Some("it needs namespaces".to_owned())
        } else {
            (kind.missing)(&plan.quorate)
        };
        if let Some(reason) = reason {
            println!("skipped: {name}: {reason}");
            plan.skipped.push(SkippedNemesis {
                nemesis: name.clone(),
                reason,
            });
        }
    }
    let skipped = plan.skipped.clone();
    plan.steps
        .retain(|step| !skipped.iter().any(|it| it.nemesis == step.nemesis));
    Ok(plan)
}

/// Lets clients work beside nemeses; gives whether the run was cancelled early.
async fn storm(
    context: &Arc<RunContext>,
    work: &dyn workload::Workload,
    cancel: &CancelToken,
) -> bool {
    let ended = CancelToken::default();
    let begun = Instant::now();
    let mut tracks = JoinSet::new();
    for name in &context.plan.nemeses {
        let steps = context
            .plan
            .steps
            .iter()
            .filter(|step| step.nemesis == *name);
        let steps: Vec<_> = steps.cloned().collect();
        tracks.spawn(nemesis::track(context.clone(), steps, begun, ended.clone()));
    }
    let monitor = tokio::spawn(leader_monitor::watch(context.clone(), ended.clone()));
    let time = Duration::from_secs(context.plan.seconds);
    let timer = async {
        let early = cancel.cancelled_before(begun + time).await;
        ended.cancel();
        early
    };
    let healing = async {
        // Clients are at work while faults are healed, and until leadership settles.
        while let Some(ended) = tracks.join_next().await {
            if let Err(error) = ended {
                context.note_trouble(format!("a nemesis died: {error}"));
            }
        }
    };
    let beats = workload::background_writes::work(context, &ended);
    let (early, (), (), ()) = tokio::join!(timer, work.work(context, &ended), beats, healing);
    if let Err(error) = monitor.await {
        context.note_trouble(format!("the monitor died: {error}"));
    }
    early
}

async fn end(context: &Arc<RunContext>, work: &dyn workload::Workload) -> FinalState {
    let mut end = teardown::settle(context, work).await;
    if let Err(problem) = work.finish(context).await {
        context.note_trouble(format!("the last reads: {}", chain(&problem)));
    }
    end.left = work.left(context).await;
    teardown::members(context, &mut end).await;
    end
}

fn make_folder(plan: &RunPlan, out: &Path) -> Result<PathBuf, RecordFileError> {
    let name = format!("{}-{}-{}", plan.workload, plan.nemeses.join("+"), plan.seed);
    let numbered = (1_u64..).map(|n| out.join(format!("{name}.{n}")));
    let mut folders = std::iter::once(out.join(&name)).chain(numbered);
    let free = folders.find(|folder| !folder.exists());
    let folder = free.expect("invariant: there is no end to numbers");
    let made = fs::create_dir_all(folder.join("members"));
    made.map_err(RecordFileError::io(&folder))?;
    Ok(folder)
}

fn keep_data(context: &RunContext) -> io::Result<()> {
    for member in &context.cluster.members {
        member.end();
        let to = member.dir.join("data");
        let mut copy = std::process::Command::new("cp");
        crate::cluster::disk::run(copy.arg("-a").arg(&member.data).arg(to))?;
    }
    Ok(())
}
