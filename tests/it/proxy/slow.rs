//! Clients that take their time, as many as a member has places for.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

use super::{ask, client::Client, get, is_envelope};
use quorate_testkit::{
    balancer::BalancerProcess,
    cluster::{SOON, TestCluster},
    eventually::eventually,
    rabbitmq::RabbitBroker,
    upstream::UpstreamServer,
};

/// As many connections as a member takes, and as many calls of clients.
const PLACES: usize = 8192;

#[tokio::test]
async fn thousands_of_slow_clients_hold_up_no_message() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("more open files");
    assert!(most > 2 * PLACES as u64, "{most} open files are too few");

    let rabbit = RabbitBroker::start().await;
    let broker = rabbit.client().await;
    broker.declare("orders").await;
    let upstream = UpstreamServer::start().await;
    let cluster = TestCluster::start(1, 500, "http.body_wait_ms = 300000").await;
    for (kind, resource) in [
        (
            "service",
            json!({"name": "orders", "upstream": upstream.url()}),
        ),
        ("service", json!({"name": "coded", "builtin": "echo"})),
        (
            "http_channel",
            json!({"name": "coded", "path": "/coded", "service": "coded"}),
        ),
        (
            "amqp_connection",
            json!({"name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
                   "username": "guest", "password": "guest"}),
        ),
        (
            "amqp_channel",
            json!({"name": "orders", "connection": "rabbit", "queue": "orders", "service": "orders"}),
        ),
    ] {
        cluster.put(0, kind, resource).await;
    }
    cluster.connector_in(0, "orders", "active").await;
    let balancer = BalancerProcess::start(&cluster).await;
    let member = cluster.members[0].http;

    let mut slow = Vec::new();
    for _ in 0..PLACES {
        let mut client = Client::connect(member).await;
        let head = "POST /coded HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhe";
        client.send(head).await;
        slow.push(client);
    }
    eventually("somebody is told that there is no room", SOON, || async {
        let answer = ask(member, get("/zato/ping", "")).await;
        (answer.status == 503)
            .then_some(())
            .ok_or(answer.status.to_string())
    })
    .await;
    for (way, port) in [("member", member), ("balancer", balancer.port())] {
        let answer = ask(port, get("/zato/ping", "")).await;
        is_envelope(way, &answer, 503);
        assert_eq!(answer.header("retry-after"), Some("1"), "{way}: {answer:?}");
        assert!(
            answer.text().contains("connections are open"),
            "{way}: {answer:?}"
        );
    }
    broker.publish("orders", ["one".to_owned()]).await;
    eventually("a message is handled", Duration::from_secs(10), || async {
        let handled = upstream.handled();
        (handled == 1).then_some(()).ok_or(handled.to_string())
    })
    .await;
    drop(slow);
    eventually("there is room again", SOON, || async {
        let answer = ask(balancer.port(), get("/zato/ping", "")).await;
        (answer.status == 200)
            .then_some(())
            .ok_or(answer.status.to_string())
    })
    .await;
}
