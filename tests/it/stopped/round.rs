//! One fault of the connector server, from everything in order to everything in order again.

use std::{fmt, time::Duration};

use nix::sys::signal::Signal;
use quorate_clock::Instant;

use super::callers::Callers;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    process::{family, send},
    takeovers::ServerFault,
};

/// Faults of a connector server, one after the other.
pub const FAULTS: [ServerFault; 3] = [
    ServerFault::StopMember,
    ServerFault::StopProcesses,
    ServerFault::Kill,
];

/// How many times the promise what is stopped is stopped.
const STOPPED: f64 = 4.0;

/// What was about to be sent when a member was stopped is sent when it goes on: no check of
/// the lease can be later than the last.
pub const SENT_LATE: Duration = Duration::from_millis(100);

/// A fault, and who took over.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub fault: ServerFault,
    /// The epoch before and after.
    pub epochs: (u64, u64),
    /// When what was stopped was continued.
    pub resumed: Option<Instant>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, epoch {} to {}",
            self.fault, self.epochs.0, self.epochs.1
        )
    }
}

/// Waits until all members are there, and each connector is at work at one of them and
/// stands by at the others; gives the connector server and its epoch.
pub async fn settled(cluster: &TestCluster, connectors: &[&str]) -> (usize, u64) {
    cluster.voters(3).await;
    eventually("one at work and two that stand by", SOON, || async {
        let (server, epoch) = cluster.connector_server(0).await?;
        for name in connectors {
            let status = cluster.connector(server, name).await?;
            if status["state"] != "active" || status["ready_standbys"] != 2 {
                return Err(status.to_string());
            }
        }
        Ok((server, epoch))
    })
    .await
}

/// Injects the fault into the connector server, of which `first` is told before. `meanwhile` is
/// given who took over, and waits for what must go on before the old one is there again.
/// Callers ask the other members.
pub async fn befall(
    cluster: &mut TestCluster,
    fault: ServerFault,
    connectors: &[&str],
    callers: &[&Callers],
    first: impl AsyncFnOnce(&TestCluster, usize),
    meanwhile: impl AsyncFnOnce(&TestCluster, usize),
) -> Round {
    let (server, epoch) = settled(cluster, connectors).await;
    for callers in callers {
        callers.leave(server).await;
    }
    let other = (server + 1) % 3;
    let member = cluster.members[server].pid();
    let processes = match fault {
        ServerFault::StopProcesses => family(member),
        _ => vec![member],
    };
    // All its connectors' processes are in it.
    assert!(fault != ServerFault::StopProcesses || processes.len() > connectors.len());
    first(cluster, server).await;
    let begun = Instant::now();
    match fault {
        ServerFault::Kill => cluster.members[server].kill(),
        _ => send(Signal::SIGSTOP, &processes),
    }
    let (next, later) = eventually("another connector server", SOON, || async {
        let (next, later) = cluster.connector_server(other).await?;
        let another = next != server && later > epoch;
        another
            .then_some((next, later))
            .ok_or(format!("{next} under {later}"))
    })
    .await;
    meanwhile(cluster, next).await;
    let resumed = if fault == ServerFault::Kill {
        cluster.members[server].start(&[]);
        None
    } else {
        let stopped = Duration::from_millis(cluster.failover_ms).mul_f64(STOPPED);
        tokio::time::sleep(stopped.saturating_sub(begun.elapsed())).await;
        let resumed = Instant::now();
        send(Signal::SIGCONT, &processes);
        Some(resumed)
    };
    follows(cluster, server, later).await;
    settled(cluster, connectors).await;
    for callers in callers {
        callers.back(server);
    }
    let round = Round {
        fault,
        epochs: (epoch, later),
        resumed,
    };
    println!(
        "{round}: all is in order {:?} after the signal",
        begun.elapsed()
    );
    round
}

/// Waits until the old connector server follows another one, of a newer epoch than its own.
async fn follows(cluster: &TestCluster, old: usize, later: u64) {
    let member = &cluster.members[old];
    eventually("the old one follows", SOON, || async {
        let answer = http::get_json(&member.admin_url("/v1/cluster/leader")).await?;
        let of = |what: &str| answer[what]["name"].as_str().map(str::to_owned);
        let other = |name: Option<String>| name.is_some_and(|it| it != member.name);
        let epoch = answer["connector_server"]["epoch"].as_u64();
        let follows = other(of("leader")) && other(of("connector_server"));
        (follows && epoch >= Some(later))
            .then_some(())
            .ok_or(answer.to_string())
    })
    .await;
}
