//! Start, death and end of the balancer and its HAProxy.

use std::{fs, net::TcpListener, path::Path};

use hyper::StatusCode;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate::balancer;
use tokio_util::sync::CancellationToken;

use super::{
    fake::{Cluster, Fake},
    rig::{Balancer, alive, folder, set, until},
};

fn one() -> (Cluster, Fake) {
    let cluster = Cluster::default();
    let member = Fake::start(&cluster, 1);
    cluster.join(&member);
    (cluster, member)
}

async fn refusal(dir: &Path) -> String {
    let config = dir.join("balancer.toml");
    let error = balancer::run(&config, CancellationToken::new()).await;
    error.expect_err("it can't start").to_string()
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_told() {
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
    let (_cluster, member) = one();
    let dir = folder(&[&member]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&member]).await;
    for _ in 0..2 {
        let before = balancer.process().await.unwrap();
        kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
        until("a new HAProxy answers", async || {
            balancer.process().await.is_some_and(|pid| pid != before)
        })
        .await;
        balancer.serves(&[&member]).await;
        assert_eq!(balancer.get("/").await.unwrap().status, StatusCode::OK);
        assert!(!alive(before));
    }
    balancer.stop().await;
}

#[tokio::test]
async fn at_its_end_requests_are_finished_and_haproxy_is_gone() {
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
    assert!(!alive(process));
}

#[tokio::test]
async fn a_request_that_does_not_end_does_not_hold_up_the_end() {
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
    let ended = tokio::time::timeout(std::time::Duration::from_secs(3), balancer.stop());
    ended.await.expect("it ends soon after its drain time");
    assert!(slow.await.unwrap().is_err());
}
