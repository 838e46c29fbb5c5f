//! One run: set up, clients beside nemeses, heal, look, judge.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::task::JoinSet;

use crate::{
    broker::Broker,
    clock::Clock,
    cluster::{Cluster, links::Links, scratch::Scratch},
    ending,
    history::Final,
    host, monitor, nemesis,
    netns::Net,
    plan::{Plan, Skipped},
    planner::{self, Wish},
    run_context::{Bed, Journals},
    stop::Stop,
    workload,
};

/// How long everything after the clients' work may take.
const ENDS_WITHIN: Duration = Duration::from_secs(180);

/// Runs it in a folder of its own below `out`; gives the folder. What becomes of the run is
/// for the judge to say.
///
/// # Errors
/// When the harness fails.
pub async fn run(wish: &Wish, out: &Path, keep: bool, stop: &Stop) -> Result<PathBuf, String> {
    let told = |error: io::Error| error.to_string();
    let work = workload::named(&wish.workload)?;
    let net = match wish.loopback {
        true => None,
        false => Net::new(wish_members(wish)).map(Arc::new),
    };
    let plan = here(planner::decide(wish), net.is_some())?;
    let folder = make_folder(&plan, out).map_err(told)?;
    println!("folder: {}", folder.display());
    write_json(&folder, "plan.json", &plan).map_err(told)?;
    let scratch = Scratch::make().map_err(told)?;
    let broker = match workload::needs_broker(&plan.workload) {
        true => Some(Arc::new(start_broker(net.as_deref()).await)),
        false => None,
    };
    let cluster = Cluster::prepare(&plan, net.clone(), scratch, &folder).await;
    let cluster = cluster.map_err(told)?;
    unless_asked(stop, cluster.boot()).await?;
    let clock = Clock::start();
    let bed = Arc::new(Bed {
        links: net.map(Links::new),
        journals: Journals::create(&folder, clock).map_err(told)?,
        folder: folder.clone(),
        clock,
        cluster,
        broker,
        trouble: Mutex::default(),
        plan,
    });
    unless_asked(stop, work.prepare(&bed)).await?;
    let host = host::Watch::start(clock);
    let asked_to_end = storm(&bed, work.as_ref(), stop).await;
    if asked_to_end {
        // What was written down says nothing of the product; nobody is to judge it.
        bed.journals.finish().map_err(told)?;
        return Err("it was asked to end".to_owned());
    }
    let ended = tokio::time::timeout(ENDS_WITHIN, end(&bed, work.as_ref())).await;
    let mut end = ended.unwrap_or_else(|_| {
        bed.trouble(format!("the end was not over within {ENDS_WITHIN:?}"));
        Final::default()
    });
    end.trouble.clone_from(&bed.trouble.lock());
    write_json(&folder, "host.json", &host.finish()).map_err(told)?;
    write_json(&folder, "final.json", &end).map_err(told)?;
    bed.journals.finish().map_err(told)?;
    if keep {
        keep_data(&bed).map_err(told)?;
    }
    // Whoever still holds the bed, nothing of it is to run on.
    for member in &bed.cluster.members {
        member.end();
        member.keep_log().map_err(told)?;
    }
    Ok(folder)
}

/// Does it, unless it is asked to end meanwhile; what there is is taken down then.
async fn unless_asked(
    stop: &Stop,
    what: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    tokio::select! {
        done = what => done,
        _ = stop.within(Duration::MAX) => Err("it was asked to end".to_owned()),
    }
}

fn wish_members(wish: &Wish) -> usize {
    planner::decide(wish).members
}

async fn start_broker(net: Option<&Net>) -> Broker {
    Broker::start(net.map_or(std::net::Ipv4Addr::LOCALHOST, Net::host)).await
}

/// The plan as far as it can be had here.
fn here(mut plan: Plan, net: bool) -> Result<Plan, String> {
    if !net {
        plan.network = "loopback".to_owned();
    }
    for name in plan.nemeses.iter().filter(|name| *name != "none") {
        let kind = nemesis::named(name)?;
        let reason = match kind.net && !net {
            true => Some("it needs namespaces".to_owned()),
            false => (kind.missing)(&plan.quorate),
        };
        if let Some(reason) = reason {
            println!("skipped: {name}: {reason}");
            plan.skipped.push(Skipped {
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

/// Clients beside nemeses; gives whether it was asked to end early.
async fn storm(bed: &Arc<Bed>, work: &dyn workload::Workload, stop: &Stop) -> bool {
    let ended = Stop::default();
    let begun = Instant::now();
    let mut tracks = JoinSet::new();
    for name in &bed.plan.nemeses {
        let steps = bed.plan.steps.iter().filter(|step| step.nemesis == *name);
        let steps: Vec<_> = steps.cloned().collect();
        tracks.spawn(nemesis::track(bed.clone(), steps, begun, ended.clone()));
    }
    let monitor = tokio::spawn(monitor::watch(bed.clone(), ended.clone()));
    let time = Duration::from_secs(bed.plan.seconds);
    let timer = async {
        let early = stop.until(begun + time).await;
        ended.ask();
        early
    };
    let healing = async {
        // Clients are at work while faults are healed, and until leadership settles.
        while let Some(ended) = tracks.join_next().await {
            if let Err(error) = ended {
                bed.trouble(format!("a nemesis died: {error}"));
            }
        }
    };
    let beats = workload::beats::work(bed, &ended);
    let (early, (), (), ()) = tokio::join!(timer, work.work(bed, &ended), beats, healing);
    if let Err(error) = monitor.await {
        bed.trouble(format!("the monitor died: {error}"));
    }
    early
}

async fn end(bed: &Arc<Bed>, work: &dyn workload::Workload) -> Final {
    let mut end = ending::settle(bed, work).await;
    if let Err(problem) = work.finish(bed).await {
        bed.trouble(format!("the last reads: {problem}"));
    }
    end.left = work.left(bed).await;
    ending::members(bed, &mut end).await;
    end
}

fn make_folder(plan: &Plan, out: &Path) -> io::Result<PathBuf> {
    let name = format!("{}-{}-{}", plan.workload, plan.nemeses.join("+"), plan.seed);
    for n in 0.. {
        let folder = match n {
            0 => out.join(&name),
            n => out.join(format!("{name}.{n}")),
        };
        if !folder.exists() {
            fs::create_dir_all(folder.join("members"))?;
            return Ok(folder);
        }
    }
    Err(io::Error::other("no name is free"))
}

fn write_json(folder: &Path, name: &str, what: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(what)?;
    text.push(b'\n');
    fs::write(folder.join(name), text)
}

fn keep_data(bed: &Bed) -> io::Result<()> {
    for member in &bed.cluster.members {
        member.end();
        let to = member.dir.join("data");
        let mut copy = std::process::Command::new("cp");
        crate::cluster::disk::run(copy.arg("-a").arg(&member.data).arg(to))?;
    }
    Ok(())
}
