//! A member that runs services is paused with messages in its buffers, and goes on in a later
//! epoch. The connector server that sent them is paused too, so nothing takes them back.

use std::{net::Ipv4Addr, time::Duration};

use nix::sys::signal::Signal;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    programs::built,
    rabbitmq::RabbitBroker,
    traffic::{sink::MessageSink, verdict},
};
use serde_json::json;

const QUEUE: &str = "orders";
const MESSAGES: usize = 40;
const ROUNDS: usize = 3;

/// For what was in the buffers to be run, if it were.
const AFTER: Duration = Duration::from_millis(500);

// guarantee: MESSAGE-4, FENCE-5
#[tokio::test(flavor = "multi_thread")]
async fn paused_member_runs_no_buffers_under_old_epoch() {
    let rabbit = RabbitBroker::start().await;
    let broker = rabbit.client().await;
    broker.declare(QUEUE).await;
    let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, Duration::ZERO).await;
    // A service in the members' code: an upstream the connector server would call itself.
    let mut cluster = TestCluster::prepare(5, 500, "");
    for member in &mut cluster.members {
        member.embedding = Some((built("examples/embedded"), ("RELAY_TO", sink.url())));
    }
    let cluster = cluster.boot().await;
    let service = json!({"name": "sink", "builtin": "relay", "timeout_ms": 20_000});
    cluster.put(0, "service", service).await;
    let connection = json!({
        "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
        "username": "guest", "password": "guest", "fence": "lease",
    });
    cluster.put(0, "amqp_connection", connection).await;
    let channel = json!({
        "name": QUEUE, "connection": "rabbit", "queue": QUEUE, "service": "sink",
        "prefetch": MESSAGES,
    });
    cluster.put(0, "amqp_channel", channel).await;

    let mut in_buffers = 0;
    for round in 0..ROUNDS {
        let leader = cluster.leader().await;
        let (server, epoch) = cluster.serving(leader).await;
        cluster.connector_in(server, QUEUE, "active").await;
        let (paused, other) = ((server + 1) % 5, (server + 2) % 5);
        let from = sink.calls_len();
        let under = |newer: bool| {
            let calls = sink.calls_from(from);
            let of = calls.iter().filter(|call| (call.epoch > epoch) == newer);
            of.count()
        };
        // Until it is known to be silent it gets its share.
        cluster.members[paused].signal(Signal::SIGSTOP);
        let ids = (0..MESSAGES).map(|n| format!("{round}-{n}"));
        broker.publish(QUEUE, ids).await;
        eventually("the others' share to be handled", SOON, || async {
            let handled = under(false);
            (handled >= MESSAGES / 2)
                .then_some(())
                .ok_or(handled.to_string())
        })
        .await;
        cluster.members[server].signal(Signal::SIGSTOP);
        eventually("all to be handled", SOON, || async {
            let calls = sink.calls_from(from);
            let ids: std::collections::BTreeSet<_> = calls.iter().map(|call| &call.id).collect();
            (ids.len() == MESSAGES)
                .then_some(())
                .ok_or(ids.len().to_string())
        })
        .await;
        let next = eventually("another connector server", SOON, || async {
            let (next, later) = cluster.connector_server(other).await?;
            (later > epoch)
                .then_some((next, later))
                .ok_or(format!("{next} under {later}"))
        });
        let (next, later) = next.await;
        assert_ne!(next, server);
        in_buffers += usize::from(under(true) > 0);
        println!(
            "round {round}: {} messages under epoch {epoch}, {} under {later}",
            under(false),
            under(true)
        );
        cluster.members[paused].signal(Signal::SIGCONT);
        tokio::time::sleep(AFTER).await;
        // Before the connector server goes on: it was stopped while it worked, perhaps between
        // a comparison of the epoch and the call that followed.
        let stale = verdict::stale(&sink.calls_from(from));
        assert!(stale.is_empty(), "{stale:?}");
        cluster.members[server].signal(Signal::SIGCONT);
        cluster.voters(5).await;
    }
    // Where its share was taken from it before the connector server stopped, nothing was shown.
    assert!(
        in_buffers > 0,
        "no message was in the buffers of a paused member"
    );
}
