//! Start, death and end of the balancer and its HAProxy.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hyper::StatusCode;
use nix::sys::signal::Signal;
use quorate::balancer;
use quorate_clock::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use quorate_testkit::{
    process::{is_alive, signal},
    programs::QUORATE,
};

use super::{
    fake::{Cluster, Fake},
    rig::{Balancer, folder, set, until},
};

fn one() -> (Cluster, Fake) {
    let cluster = Cluster::default();
    let member = Fake::start(&cluster, 1);
    cluster.join(&member);
    (cluster, member)
}

async fn refusal(dir: &Path) -> String {
    let config = dir.join("balancer.toml");
    let error = balancer::run(&config, CancellationToken::new(), mpsc::channel(1).1).await;
    error.expect_err("it can't start").to_string()
}

#[tokio::test]
async fn balancer_start_failure_names_its_cause() {
    let (_cluster, member) = one();
    let dir = folder(&[&member]);
    let balancer = Balancer::start(dir.path()).await;
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    assert_eq!(pid.trim(), std::process::id().to_string());
    let error = refusal(dir.path()).await;
    assert!(
        error.contains("another balancer runs in") && error.contains(pid.trim()),
        "{error}"
    );

    // In a folder of its own, on the same address.
    let other = folder(&[&member]);
    fs::copy(
        dir.path().join("balancer.toml"),
        other.path().join("balancer.toml"),
    )
    .unwrap();
    let error = refusal(other.path()).await;
    let bind = balancer.bind;
    assert!(
        error.contains(&format!("can't listen on {bind}")),
        "{error}"
    );
    assert!(
        error.contains("in use") && error.contains("`bind`"),
        "{error}"
    );
    balancer.stop().await;
    assert!(!dir.path().join("pid").exists());

    let taken = TcpListener::bind(bind).unwrap();
    assert!(refusal(dir.path()).await.contains("can't listen on"));
    drop(taken);

    set(dir.path(), "haproxy = \"/bin/false\"\n");
    assert!(
        refusal(dir.path())
            .await
            .contains("doesn't say that it is HAProxy")
    );
    fs::remove_file(dir.path().join("balancer.toml")).unwrap();
    assert!(
        refusal(dir.path())
            .await
            .contains("can't read the balancer's settings")
    );
}

#[tokio::test]
async fn an_haproxy_that_dies_is_started_again() {
    let (cluster, member) = one();
    let dir = folder(&[&member]);
    let balancer = Balancer::start(dir.path()).await;
    // One that dies while it is being started counts as one that can't be: a change that
    // has been taken in shows that the start is over.
    let second = Fake::start(&cluster, 2);
    cluster.join(&second);
    balancer.serves(&[&member, &second]).await;
    for _ in 0..2 {
        let before = balancer.process().await.unwrap();
        signal(before, Signal::SIGKILL);
        until("a new HAProxy answers", async || {
            balancer.process().await.is_some_and(|pid| pid != before)
        })
        .await;
        balancer.serves(&[&member, &second]).await;
        assert_eq!(balancer.get("/").await.unwrap().status, StatusCode::OK);
        assert!(!is_alive(before));
    }
    balancer.stop().await;
}

// guarantee: HTTP-3
#[tokio::test]
async fn balancer_stop_finishes_requests_and_ends_haproxy() {
    let (_cluster, member) = one();
    let dir = folder(&[&member]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&member]).await;
    let process = balancer.process().await.unwrap();
    let mut client = balancer.connect().await.unwrap();
    let slow = tokio::spawn(async move { client.get("/slow").await });
    until("the slow request has arrived", async || {
        member.saw("GET /slow") == 1
    })
    .await;
    balancer.begin_stop();
    until("nobody listens any more", async || {
        tokio::net::TcpStream::connect(balancer.bind).await.is_err()
    })
    .await;
    assert!(!slow.is_finished());
    member.controls.go_on.notify_waiters();
    assert_eq!(slow.await.unwrap().unwrap().body, "member-1");
    balancer.stop().await;
    assert!(!is_alive(process));
}

// guarantee: HTTP-3
#[tokio::test]
async fn signals_to_balancer_and_haproxy_cut_no_request() {
    let (_cluster, member) = one();
    let dir = folder(&[&member]);
    let mut child = as_a_process(dir.path());
    let balancer = Balancer::of_a_process(dir.path());
    balancer.serves(&[&member]).await;
    let haproxy = balancer.process().await.unwrap();
    let own = child.id();
    let mut client = balancer.connect().await.unwrap();
    let slow = tokio::spawn(async move { client.get("/slow").await });
    until("the slow request has arrived", async || {
        member.saw("GET /slow") == 1
    })
    .await;
    // A terminal that is closed ends nothing, and neither does what others send by habit.
    for ignored in [Signal::SIGHUP, Signal::SIGUSR2] {
        signal(haproxy, ignored);
        signal(own, ignored);
    }
    balancer.serves(&[&member]).await;
    for asked in [Signal::SIGINT, Signal::SIGTERM] {
        signal(haproxy, asked);
    }
    signal(own, Signal::SIGTERM);
    until("nobody listens any more", async || {
        tokio::net::TcpStream::connect(balancer.bind).await.is_err()
    })
    .await;
    assert!(!slow.is_finished());
    member.controls.go_on.notify_waiters();
    assert_eq!(slow.await.unwrap().unwrap().body, "member-1");
    let status = tokio::task::spawn_blocking(move || child.wait());
    assert!(status.await.unwrap().unwrap().success());
    assert!(!is_alive(haproxy));
}

#[tokio::test]
async fn unending_request_does_not_delay_balancer_stop() {
    let (_cluster, member) = one();
    let dir = folder(&[&member]);
    set(dir.path(), "drain_ms = 300\n");
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&member]).await;
    let mut client = balancer.connect().await.unwrap();
    let slow = tokio::spawn(async move { client.get("/slow").await });
    until("the slow request has arrived", async || {
        member.saw("GET /slow") == 1
    })
    .await;
    let ended = tokio::time::timeout(Duration::from_secs(3), balancer.stop());
    ended.await.expect("it ends soon after its drain time");
    assert!(slow.await.unwrap().is_err());
}

/// `quorate balancer` as a process of its own.
fn as_a_process(dir: &Path) -> Child {
    let log = fs::File::create(dir.join("balancer.log")).unwrap();
    Command::new(&*QUORATE)
        .args(["balancer", "--config"])
        .arg(dir.join("balancer.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn haproxy_ends_with_the_balancer_however_that_ends() {
    let (_cluster, member) = one();
    let dir = folder(&[&member]);
    let pid_file = dir.path().join("pid");
    for asked_by in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let mut child = as_a_process(dir.path());
        let balancer = Balancer::of_a_process(dir.path());
        balancer.serves(&[&member]).await;
        let pid = child.id();
        let told = fs::read_to_string(&pid_file).unwrap();
        assert_eq!(told.trim(), pid.to_string());
        let process = balancer.process().await.unwrap();
        // It keeps a connection of a client, which must not hold it up.
        let mut client = balancer.connect().await.unwrap();
        client.get("/").await.unwrap();

        let asked = Instant::now();
        signal(pid, asked_by);
        let status = tokio::task::spawn_blocking(move || child.wait())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            status.success(),
            asked_by != Signal::SIGKILL,
            "{asked_by}: {status}"
        );
        until("HAProxy is gone", async || !is_alive(process)).await;
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{asked_by}: {:?}",
            asked.elapsed()
        );
        // What a killed one leaves behind is no obstacle for the next.
        assert_eq!(pid_file.exists(), asked_by == Signal::SIGKILL);
    }
    let mut child = as_a_process(dir.path());
    Balancer::of_a_process(dir.path()).serves(&[&member]).await;
    signal(child.id(), Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}
