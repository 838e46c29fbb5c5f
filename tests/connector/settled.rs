//! What is counted adds up with what the broker and the service saw.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Send};
use quorate_resources::Kind;
use quorate_supervisor::{ConnectorState, ConnectorStatus, connector_status::MessageCounts};
use serde_json::json;

use super::{load::*, world::*};

#[tokio::test(flavor = "multi_thread")]
async fn channel_counts_match_broker_and_service() {
    let (broker, queue) = (broker().await, unique("counted"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client.declare(&queue).await;
    client.declare(&dead).await;
    let group = group_with_channel(broker, &queue);
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"]["dead_letter"] = json!(dead);
    group.put(Kind::AmqpChannel, with_dead_letter);
    let handled = Handled::default();
    let failures = std::sync::Arc::new(AtomicUsize::new(0));
    let failed = failures.clone();
    handled.serve(&group, move |call, n| {
        let fails = n % 10 == 9 || n % 5 == 2 && call.attempt == 1;
        failed.fetch_add(usize::from(fails), Ordering::Relaxed);
        (Duration::from_millis(1), if fails { 500 } else { 200 })
    });
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    const N: usize = 300;
    client.publish(&queue, bodies(N)).await;
    let settled = |status: &ConnectorStatus| status.counts.settled() == N as u64;
    member.when(&queue, "all settled", settled).await;
    drained(&client, &member, &queue).await;

    let counts = member.status(&queue).unwrap().counts;
    let dead = u64::from(client.count(&dead).await.0);
    assert_eq!(dead, N as u64 / 10);
    let expected = MessageCounts {
        received: N as u64,
        handled: handled.times().len() as u64,
        failed: dead,
        retried: failures.load(Ordering::Relaxed) as u64 - dead,
        dead_lettered: dead,
        waiting: counts.waiting,
        ..MessageCounts::default()
    };
    assert_eq!(counts, expected);
    assert_eq!(handled.again(), 0);
    assert_eq!(
        group.calls.lock().len() as u64,
        counts.received + counts.retried
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn outgoing_counts_match_outcomes_of_callers() {
    let broker = RabbitBroker::start().await;
    let client = broker.client().await;
    client.declare("out").await;
    let group = SimulatedGroup::new();
    group.put(Kind::AmqpConnection, connection(broker.port()));
    let outgoing =
        json!({"name": "out", "connection": "broker", "exchange": "", "routing_key": "out"});
    group.put(Kind::AmqpOutgoing, outgoing);
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active("out").await;
    let send = async |routing_key: &str, within: u64| {
        let properties = vec![Header {
            name: "routing-key".into(),
            value: routing_key.to_owned().into(),
        }];
        let message = Send {
            body: "x".into(),
            properties,
            ..Send::default()
        };
        let deadline = Instant::now() + Duration::from_millis(within);
        let sent = member
            .handle
            .send("amqp_outgoing", "out", message, deadline);
        sent.await.unwrap()
    };
    for n in 0..60 {
        match (
            n % 3,
            send(if n % 3 == 0 { "nowhere" } else { "out" }, 10_000).await,
        ) {
            (0, SendOutcome::Refused(_)) | (1 | 2, SendOutcome::Confirmed { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    let user = ["close_all_user_connections", "guest", "as a test"];
    broker.ctl(&user).await;
    member
        .when("out", "connected again", |status| {
            status.counts.reconnects == 1 && status.state == ConnectorState::Active
        })
        .await;
    let sent = send("out", 10_000).await;
    assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    // A broker that hangs: what it was given may have arrived.
    let pid = broker.pid().unwrap();
    signal(pid, Signal::SIGSTOP);
    let unknown = send("out", 1000).await;
    signal(pid, Signal::SIGCONT);
    assert!(matches!(unknown, SendOutcome::Unknown(_)), "{unknown:?}");
    let expected = MessageCounts {
        sent: 41,
        refused: 20,
        unknown: 1,
        reconnects: 1,
        ..MessageCounts::default()
    };
    let seen = member
        .when("out", "all counted", |status| {
            status.counts.unknown == 1 && status.counts.in_flight == 0
        })
        .await;
    assert_eq!(seen.counts, expected);
    let there = broker.client().await.count("out").await.0;
    assert!(there == 41 || there == 42, "{there}");
}
