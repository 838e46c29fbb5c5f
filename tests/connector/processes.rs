//! Processes that die, hang, or lose their parent.

use std::{
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_ipc::{
    PROCESS_ARGUMENT,
    lease::{BootInstant, LeaseWriter},
};
use quorate_state::BrokerConnection;
use quorate_supervisor::ConnectorState;
use quorate_testkit::process::{ChildProcess, bound};

use super::world::*;

async fn gone(pid: u32) -> Duration {
    let since = Instant::now();
    eventually("the process is gone", async || {
        (!is_alive(pid)).then_some(())
    })
    .await;
    since.elapsed()
}

/// A connector process without its actor.
pub fn bare() -> (ChildProcess, UnixStream, LeaseWriter) {
    let page = LeaseWriter::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let mut command = Command::new(&*QUORATE);
    command
        .args([PROCESS_ARGUMENT, "amqp_channel/x"])
        .args([&std::process::id().to_string(), "50", "200"])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(far)))
        .stdout(Stdio::from(page.descriptor().unwrap()));
    (ChildProcess::spawn(command).unwrap(), near, page)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_closes_and_the_process_ends() {
    let (child, near, _page) = bare();
    // Its first heartbeat.
    let mut byte = [0];
    std::io::Read::read_exact(&mut &near, &mut byte).unwrap();
    drop(near);
    let took = gone(child.pid()).await;
    println!("gone {took:?} after the control socket closed");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn connector_process_started_by_non_member_is_refused() {
    let by_hand = Command::new(&*QUORATE)
        .arg(PROCESS_ARGUMENT)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(by_hand.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&by_hand.stderr).contains("started by a member, not by hand"));
    let stranger = Command::new(&*QUORATE)
        .args([PROCESS_ARGUMENT, "amqp_channel/x", "1", "50", "200"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("its parent 1 is gone"));
}

/// Run as a process of its own by the test below: a member whose connector process is up.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a helper of another test"]
async fn helper_parent() {
    let queue = std::env::var("HELPER_QUEUE").unwrap();
    let port: u16 = std::env::var("HELPER_PORT").unwrap().parse().unwrap();
    let group = SimulatedGroup::new();
    group.put(
        quorate_resources::Kind::Service,
        serde_json::json!({"name": "store", "upstream": "http://127.0.0.1:9/"}),
    );
    let mut broker = connection(port);
    if let Ok(fence) = std::env::var("HELPER_FENCE") {
        broker["fence"] = fence.into();
        broker["management_url"] = "http://127.0.0.1:1".into();
        // The broker holds on to it for longer than any test takes.
        broker["heartbeat_s"] = 300.into();
    }
    group.put(quorate_resources::Kind::AmqpConnection, broker);
    group.put(quorate_resources::Kind::AmqpChannel, channel(&queue));
    group.behave(|_| (Duration::from_secs(3600), status(200)));
    // A long lease: it must not be the lease that ends the process.
    let member = SimulatedMember::start(&group, 1, 60_000);
    member.lead(2);
    let pid = member.active(&queue).await.pid.unwrap();
    if std::env::var("HELPER_FENCE").is_ok() {
        let connector = format!("amqp_channel/{queue}");
        let recorded = eventually("the connection is recorded", async || {
            let state = group.state();
            state
                .recorded_connections()
                .connection(1, &connector)
                .cloned()
        });
        let recorded = recorded.await;
        println!("CONNECTION {}|{}", recorded.name, recorded.label);
    }
    println!("PID {pid}");
    std::future::pending::<()>().await;
}

/// A member and its connector, in processes of their own.
pub struct Holder {
    member: ChildProcess,
    connector: u32,
    /// The connector's connection, where a fence was asked for.
    pub connection: BrokerConnection,
}

impl Holder {
    pub async fn start(queue: &str, port: u16, fence: Option<&str>) -> Holder {
        let mut command = bound(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("processes::helper_parent")
            .env("HELPER_QUEUE", queue)
            .env("HELPER_PORT", port.to_string())
            .stdout(Stdio::piped());
        if let Some(fence) = fence {
            command.env("HELPER_FENCE", fence);
        }
        let mut member = ChildProcess::spawn(command).unwrap();
        let lines = member.lines();
        let read = tokio::task::spawn_blocking(move || {
            let mut connection = BrokerConnection::default();
            for line in lines {
                if let Some((_, it)) = line.split_once("CONNECTION ") {
                    let (name, label) = it.split_once('|').unwrap();
                    (connection.name, connection.label) = (name.into(), label.into());
                }
                if let Some((_, pid)) = line.split_once("PID ") {
                    return (connection, pid.trim().parse().unwrap());
                }
            }
            panic!("the holder ended");
        });
        let (connection, connector) = read.await.unwrap();
        Holder {
            member,
            connector,
            connection,
        }
    }

    pub fn stop(&self) {
        for pid in [self.member.pid(), self.connector] {
            signal(pid, Signal::SIGSTOP);
        }
    }
}

// guarantee: REIGN-3
#[tokio::test(flavor = "multi_thread")]
async fn no_process_survives_kill_9_of_its_parent() {
    let (broker, queue) = (broker().await, unique("orphan"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let holder = Holder::start(&queue, broker.port(), None).await;
    let pid = holder.connector;
    assert!(is_alive(pid));
    client.publish(&queue, bodies(3)).await;
    holder.member.signal(Signal::SIGKILL);
    let took = gone(pid).await;
    println!("gone {took:?} after kill -9 of the parent");
    assert!(took < Duration::from_secs(1), "{took:?}");
    eventually("the broker has them back", async || {
        (client.count(&queue).await == (3, 0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_status_is_reported_despite_unread_commands() {
    let (broker, queue) = (broker().await, unique("died"));
    broker.client().await.declare(&queue).await;
    // A long lease, so that its silence is not noticed first.
    let member = consuming_member(broker, &queue, 60_000).await;
    let pid = member.status(&queue).unwrap().pid.unwrap();
    signal(pid, Signal::SIGSTOP);
    // Commands that it will never read.
    for prefetch in 20..40 {
        let mut other = channel(&queue);
        other["prefetch"] = prefetch.into();
        member
            .group
            .put(quorate_resources::Kind::AmqpChannel, other);
        tokio::task::yield_now().await;
    }
    signal(pid, Signal::SIGKILL);
    member
        .when(&queue, "how it ended", |status| {
            says(status, "was ended by SIGKILL")
        })
        .await;
}

// guarantee: REIGN-3
#[tokio::test(flavor = "multi_thread")]
async fn stopped_process_is_replaced_without_message_loss() {
    let (broker, queue) = (broker().await, unique("stopped"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    member
        .group
        .behave(|_| (Duration::from_millis(20), status(200)));
    client.publish(&queue, bodies(300)).await;
    member
        .when(&queue, "some handled", |status| status.counts.handled >= 20)
        .await;
    let pid = member.status(&queue).unwrap().pid.unwrap();
    signal(pid, Signal::SIGSTOP);
    let took = gone(pid).await;
    println!(
        "a stopped process was killed after {took:?}, lease {:?}",
        member.timing.lease
    );
    member
        .when(&queue, "another process", |status| {
            status.pid.is_some_and(|new| new != pid)
        })
        .await;
    eventually("all were handled", async || {
        (member.group.calls_by_body().len() == 300).then_some(())
    })
    .await;
    drained(&client, &member, &queue).await;
    let duplicates = member.group.calls.lock().len() - 300;
    assert!(
        duplicates <= 20,
        "{duplicates} duplicates: more than prefetch + in flight"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_replaced() {
    let (broker, queue) = (broker().await, unique("killed"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let first = member.status(&queue).unwrap();
    signal(first.pid.unwrap(), Signal::SIGKILL);
    let error = member
        .when(&queue, "an error", |status| status.last_error.is_some())
        .await
        .last_error
        .unwrap();
    assert!(
        error.contains("its process is gone: it was ended by SIGKILL"),
        "{error}"
    );
    let second = member
        .when(&queue, "another", |status| {
            status.state == ConnectorState::Active && status.pid != first.pid
        })
        .await;
    assert_eq!((second.epoch, second.last_error), (first.epoch, None));
}

/// The quorum's answers come late, and then in time again; nobody else was elected.
// guarantee: LEASE-5
#[tokio::test(flavor = "multi_thread")]
async fn lapse_ends_no_process_and_redelivers_nothing() {
    let (broker, queue) = (broker().await, unique("lapse"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 10_000).await;
    let before = member.status(&queue).unwrap();
    let reign = member.handle.reign();
    let lapsed = async || reign.borrow().lapsed.then_some(());
    // One that is with its service when the lease runs out.
    let runs = member.timing.lease + Duration::from_millis(300);
    member.group.behave(move |_| (runs, status(200)));
    client.publish(&queue, ["before".to_owned()]).await;
    eventually("it is with the service", async || {
        (member.group.calls.lock().len() == 1).then_some(())
    })
    .await;
    member.group.behave(|_| (Duration::ZERO, status(200)));
    member.beat(false);
    eventually("the lease has run out", lapsed).await;
    let since = Instant::now();
    client.publish(&queue, bodies(20)).await;
    while since.elapsed() < Duration::from_millis(200) {
        assert_eq!(member.group.calls.lock().len(), 1, "one was handed on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.count(&queue).await.1, 1, "it keeps what it has");
    assert!(reign.borrow().lapsed);
    member.beat(true);
    let after = member
        .when(&queue, "all handled", |it| it.counts.handled == 21)
        .await;
    println!("stood still for {:?}", since.elapsed());
    assert_eq!((after.epoch, after.pid), (before.epoch, before.pid));
    assert_eq!(after.counts.received, 21, "one was handed out again");
    assert_eq!(after.counts.reconnects, 0);
    let by_body = member.group.calls_by_body();
    assert!(by_body.len() == 21 && by_body.values().all(|times| *times == 1));
    let lapses = *member.handle.lapses().borrow();
    assert_eq!((lapses.count, lapses.gave_back), (1, 0));
}

/// A successor may be elected by then, and would not be let in.
// guarantee: LEASE-5
#[tokio::test(flavor = "multi_thread")]
async fn lasting_lapse_returns_all_and_process_continues() {
    let (broker, queue) = (broker().await, unique("long-lapse"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let before = member.status(&queue).unwrap();
    // The quorum stops answering; the member still believes that it leads.
    member.beat(false);
    let stopped = Instant::now();
    eventually("nobody consumes", async || {
        (client.count(&queue).await.1 == 0).then_some(())
    })
    .await;
    let took = stopped.elapsed();
    println!(
        "given up {took:?} after the last answered round, lease {:?}",
        member.timing.lease
    );
    assert!(
        took < member.timing.lease.mul_f64(1.5) + Duration::from_millis(250),
        "{took:?}"
    );
    assert!(!member.handle.reign().borrow().acting);
    client.publish(&queue, bodies(1)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(member.group.calls.lock().len(), 0);
    // It answers again, in the same term: the same reign.
    member.beat(true);
    let after = member
        .when(&queue, "handled", |status| status.counts.handled == 1)
        .await;
    assert_eq!((after.epoch, after.pid), (before.epoch, before.pid));
    let lapses = *member.handle.lapses().borrow();
    assert_eq!(lapses.gave_back, 1, "{lapses:?}");
}

/// Without a broker: what the process does with its lease is between it and the page.
#[tokio::test(flavor = "multi_thread")]
async fn expired_lease_does_not_end_standby_process() {
    let (child, near, page) = bare();
    page.grant(
        5,
        BootInstant::now() + Duration::from_millis(50),
        Duration::ZERO,
    );
    let mut byte = [0];
    std::io::Read::read_exact(&mut &near, &mut byte).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(is_alive(child.pid()));
}

// Test 58.
// guarantee: SECURITY-40
#[tokio::test(flavor = "multi_thread")]
async fn process_keeps_to_itself_and_has_no_secrets() {
    let (broker, queue) = (broker().await, unique("confined"));
    broker.client().await.declare(&queue).await;
    let member = consuming_member(broker, &queue, 5000).await;
    let pid = member.active(&queue).await.pid.unwrap();
    let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}"));
    let status = read("status").unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits = read("limits").unwrap();
    let core = limits.lines().find(|it| it.starts_with("Max core file"));
    let numbers: Vec<&str> = core.unwrap().split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"], "{limits}");
    // Root's alone to read, since the process shows nothing of itself.
    let Ok(environment) = read("environ") else {
        assert!(!nix::unistd::geteuid().is_root());
        return;
    };
    // The test has it from cargo, as a member may have secrets.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let names: Vec<&str> = environment.split('\0').map(name_of).collect();
    assert!(names.contains(&"PATH"), "{names:?}");
    assert!(!names.iter().any(|it| it.starts_with("CARGO")), "{names:?}");
    let ours = names.iter().filter(|it| it.starts_with("QUORATE_"));
    let allowed = [
        "QUORATE_LOCAL_RULES",
        "QUORATE_LOG_LEVEL",
        "QUORATE_LOG_FORMAT",
    ];
    ours.for_each(|it| assert!(allowed.contains(it), "{it}"));
}

fn name_of(variable: &str) -> &str {
    variable.split('=').next().unwrap_or_default()
}
