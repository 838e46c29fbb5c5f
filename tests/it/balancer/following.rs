//! Members join, leave and move; the balancer follows.

use std::{fs, os::unix::fs::PermissionsExt};

use hyper::StatusCode;
use quorate_testkit::process::is_alive;

use super::{
    fake::{Cluster, Fake},
    rig::{Balancer, folder, set, until},
};

#[tokio::test]
async fn kept_alive_connection_survives_join_and_leave() {
    let cluster = Cluster::default();
    let (a, b) = (Fake::start(&cluster, 1), Fake::start(&cluster, 2));
    cluster.join(&a);
    cluster.join(&b);
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a, &b]).await;
    let process = balancer.process().await.unwrap();
    let mut used = balancer.connect().await.unwrap();
    let mut idle = balancer.connect().await.unwrap();
    assert_eq!(idle.get("/").await.unwrap().status, StatusCode::OK);

    let c = Fake::start(&cluster, 3);
    cluster.join(&c);
    while c.requests() == 0 {
        assert_eq!(used.get("/").await.unwrap().status, StatusCode::OK);
    }
    cluster.leave(&a);
    until("the member that left is deleted", async || {
        !balancer
            .get("/zato-lb-stats;csv")
            .await
            .unwrap()
            .body
            .contains("members,member-1,")
    })
    .await;
    let before = a.requests();
    for _ in 0..20 {
        let answer = used.get("/").await.unwrap();
        assert!(
            ["member-2", "member-3"].contains(&answer.body.as_str()),
            "{answer:?}"
        );
    }
    assert_eq!(idle.get("/").await.unwrap().status, StatusCode::OK);
    assert_eq!(a.requests(), before);
    assert_eq!(
        balancer.process().await,
        Some(process),
        "it was not reloaded"
    );

    let file = fs::read_to_string(dir.path().join("haproxy.cfg")).unwrap();
    assert!(!file.contains("server member-1 "), "{file}");
    assert!(
        file.find("server member-2 ") < file.find("server member-3 "),
        "{file}"
    );
    balancer.stop().await;
}

#[tokio::test]
async fn leaving_member_finishes_its_requests_in_flight() {
    let cluster = Cluster::default();
    let (a, b) = (Fake::start(&cluster, 1), Fake::start(&cluster, 2));
    cluster.join(&a);
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a]).await;
    let mut client = balancer.connect().await.unwrap();
    let slow = tokio::spawn(async move {
        let answer = client.get("/slow").await;
        (client, answer)
    });
    until("the slow request has arrived", async || {
        a.saw("GET /slow") == 1
    })
    .await;
    cluster.join(&b);
    cluster.leave(&a);
    balancer.serves(&[&b]).await;
    // While its request runs, its name can be taken by nobody; it can come back itself.
    assert_eq!(balancer.get("/").await.unwrap().body, "member-2");
    assert!(!slow.is_finished());
    a.controls.go_on.notify_waiters();
    let (mut client, answer) = slow.await.unwrap();
    assert_eq!(answer.unwrap().body, "member-1");
    assert_eq!(client.get("/").await.unwrap().body, "member-2");
    balancer.stop().await;
}

#[tokio::test]
async fn haproxy_replacement_breaks_off_no_request() {
    let cluster = Cluster::default();
    let (a, b) = (Fake::start(&cluster, 1), Fake::start(&cluster, 2));
    cluster.join(&a);
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a]).await;
    let process = balancer.process().await;
    let mut client = balancer.connect().await.unwrap();
    let slow = tokio::spawn(async move { client.get("/slow").await });
    until("the slow request has arrived", async || {
        a.saw("GET /slow") == 1
    })
    .await;

    // A new member under the old one's name: it can't be deleted while it has a request.
    let moved = Fake::start(&cluster, 1);
    cluster.leave(&a);
    cluster.join(&moved);
    cluster.join(&b);
    // The old process may have both names for a moment: member-1 where it was.
    until("a new process has taken over", async || {
        let now = balancer.process().await;
        now.is_some() && now != process
    })
    .await;
    balancer.serves(&[&moved, &b]).await;
    assert_eq!(balancer.get("/").await.unwrap().status, StatusCode::OK);
    assert!(!slow.is_finished());
    a.controls.go_on.notify_waiters();
    assert_eq!(slow.await.unwrap().unwrap().body, "member-1");
    until("the old process is gone", async || {
        !process.is_some_and(is_alive)
    })
    .await;

    // The new process takes changes as the first one did.
    let now = balancer.process().await;
    cluster.leave(&b);
    balancer.serves(&[&moved]).await;
    assert_eq!(balancer.process().await, now);
    balancer.stop().await;
}

#[tokio::test]
async fn returned_member_is_found_at_new_address() {
    let cluster = Cluster::default();
    let (a, mut b) = (Fake::start(&cluster, 1), Fake::start(&cluster, 2));
    cluster.join(&a);
    cluster.join(&b);
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a, &b]).await;
    b.kill();
    let moved = Fake::start(&cluster, 2);
    assert_ne!(moved.http, b.http);
    cluster.leave(&b);
    cluster.join(&moved);
    until("it gets requests", async || {
        balancer.get("/").await.is_ok() && moved.requests() > 0
    })
    .await;
    balancer.stop().await;
}

#[tokio::test]
async fn balancer_starts_from_saved_members_without_seeds() {
    let cluster = Cluster::default();
    let (mut a, b) = (Fake::start(&cluster, 1), Fake::start(&cluster, 2));
    cluster.join(&a);
    cluster.join(&b);
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a, &b]).await;
    balancer.stop().await;

    cluster.leave(&a);
    a.kill();
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&b]).await;
    assert_eq!(balancer.get("/").await.unwrap().body, "member-2");
    balancer.stop().await;
}

#[tokio::test]
async fn balancer_starts_before_members_and_keeps_last_known() {
    let cluster = Cluster::default();
    let mut a = Fake::start(&cluster, 1);
    a.kill();
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    assert_eq!(
        balancer.get("/").await.unwrap().status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let a = Fake::revive(&cluster, &a);
    // An empty list is no answer.
    until("it asks", async || dir.path().join("haproxy.cfg").exists()).await;
    cluster.join(&a);
    balancer.serves(&[&a]).await;
    assert_eq!(balancer.get("/").await.unwrap().body, "member-1");
    balancer.stop().await;
}

#[tokio::test]
async fn refused_configuration_leaves_previous_in_force() {
    let cluster = Cluster::default();
    let (a, b, c) = (
        Fake::start(&cluster, 1),
        Fake::start(&cluster, 2),
        Fake::start(&cluster, 3),
    );
    cluster.join(&a);
    let dir = folder(&[&a]);
    // An HAProxy that refuses whatever has member-2 in it.
    let picky = dir.path().join("picky-haproxy");
    let script = "#!/bin/sh\nPATH=$PATH:/usr/sbin\n\
        if [ \"$1\" = -c ] && grep -q 'server member-2 ' \"$3\"; then\n\
        echo '[ALERT]    (1) : config : no member-2 here' >&2; exit 1; fi\n\
        exec haproxy \"$@\"\n";
    fs::write(&picky, script).unwrap();
    fs::set_permissions(&picky, fs::Permissions::from_mode(0o755)).unwrap();
    set(dir.path(), &format!("haproxy = {picky:?}\n"));

    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a]).await;
    cluster.join(&b);
    let candidate = dir.path().join("haproxy.cfg.new");
    until("the new configuration is refused", async || {
        fs::read_to_string(&candidate).is_ok_and(|text| text.contains("server member-2 "))
    })
    .await;
    assert_eq!(balancer.get("/").await.unwrap().body, "member-1");
    let in_force = fs::read_to_string(dir.path().join("haproxy.cfg")).unwrap();
    assert!(!in_force.contains("member-2"), "{in_force}");
    assert_eq!(balancer.up().await, ["member-1"]);

    cluster.leave(&b);
    cluster.join(&c);
    balancer.serves(&[&a, &c]).await;
    balancer.stop().await;
}
