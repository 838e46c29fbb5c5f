//! Against a real queue manager, where `QUORATE_IBM_MQ_HOST` names one. It needs an empty
//! queue and, beside it, a backout queue, both for this test alone:
//!
//! ```text
//! QUORATE_IBM_MQ_HOST, QUORATE_IBM_MQ_PORT (1414), QUORATE_IBM_MQ_QUEUE_MANAGER (QM1),
//! QUORATE_IBM_MQ_CHANNEL (DEV.APP.SVRCONN), QUORATE_IBM_MQ_USERNAME, QUORATE_IBM_MQ_PASSWORD,
//! QUORATE_IBM_MQ_QUEUE (DEV.QUEUE.1), QUORATE_IBM_MQ_BACKOUT_QUEUE (DEV.QUEUE.2),
//! QUORATE_IBM_MQ_LIBRARY (libmqic_r.so)
//! ```
//!
//! They are reported as skipped unless `--ignored` asks for them; `make test` does when
//! QUORATE_IBM_MQ_HOST is set.

use std::{env, sync::Arc, time::Duration};

use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::world::*;

/// The tests share the queues.
static ALONE: Mutex<()> = Mutex::const_new(());

fn variable(name: &str, default: &str) -> String {
    env::var(format!("QUORATE_IBM_MQ_{name}")).unwrap_or_else(|_| default.to_owned())
}

fn connection() -> Value {
    let host = env::var("QUORATE_IBM_MQ_HOST").expect("QUORATE_IBM_MQ_HOST names the host");
    let port: u16 = variable("PORT", "1414").parse().unwrap();
    let mut connection = json!({"name": "manager", "host": host, "port": port, "ssl": false,
        "queue_manager": variable("QUEUE_MANAGER", "QM1"),
        "channel": variable("CHANNEL", "DEV.APP.SVRCONN"),
        "library": variable("LIBRARY", "libmqic_r.so")});
    let username = variable("USERNAME", "");
    if !username.is_empty() {
        connection["username"] = username.into();
        connection["password"] = variable("PASSWORD", "").into();
    }
    connection
}

fn member(connection: Value) -> (SimulatedMember, Arc<SimulatedGroup>) {
    let group = SimulatedGroup::with_services();
    group.put(Kind::IbmMqConnection, connection);
    group.put(
        Kind::IbmMqOutgoing,
        with(outgoing(), "queue", variable("QUEUE", "DEV.QUEUE.1")),
    );
    let mut channel = with(channel(), "queue", variable("QUEUE", "DEV.QUEUE.1"));
    channel["backout_queue"] = variable("BACKOUT_QUEUE", "DEV.QUEUE.2").into();
    channel["backout_threshold"] = 2.into();
    group.put(Kind::IbmMqChannel, channel);
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    (member, group)
}

fn message(body: &str) -> Send {
    Send {
        content_type: "text/plain".into(),
        headers: vec![header("region", "a < b & c")],
        properties: vec![header("correlation-id", "order-7"), header("type", "order")],
        body: body.to_owned().into(),
        ..Send::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real queue manager: QUORATE_IBM_MQ_HOST"]
async fn a_message_goes_out_and_comes_in() {
    let _alone = ALONE.lock().await;
    let (member, group) = member(connection());
    let SendOutcome::Confirmed { message_id, .. } = send(&member, message("Grüße")).await else {
        panic!()
    };
    let call = called(&group, 1).await.remove(0);
    assert_eq!(call.body, "Grüße");
    assert_eq!(said(&call, "quorate-message-id"), message_id);
    assert_eq!(said(&call, "quorate-header-region"), "a < b & c");
    assert_eq!(said(&call, "quorate-property-correlation-id"), "order-7");
    assert_eq!(said(&call, "quorate-property-type"), "order");
    assert_eq!(said(&call, "quorate-property-delivery-mode"), "2");
    member
        .when("orders", "handled", |status| status.counts.handled == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real queue manager: QUORATE_IBM_MQ_HOST"]
async fn twice_failed_message_moves_to_backout_queue() {
    let _alone = ALONE.lock().await;
    let (member, group) = member(connection());
    group.behave(|call| {
        (
            Duration::ZERO,
            status(if call.service == "store" { 500 } else { 200 }),
        )
    });
    assert!(matches!(
        send(&member, message("bad")).await,
        SendOutcome::Confirmed { .. }
    ));
    member
        .when("orders", "moved", |status| status.counts.dead_lettered == 1)
        .await;
    let mut reader = with(channel(), "queue", variable("BACKOUT_QUEUE", "DEV.QUEUE.2"));
    reader["name"] = "backout".into();
    reader["service"] = "other".into();
    group.put(Kind::IbmMqChannel, reader);
    let call = called(&group, 3).await.remove(2);
    assert_eq!(
        (call.service.as_str(), call.body.as_str()),
        ("other", "bad")
    );
    assert_eq!(said(&call, "quorate-header-quorate_attempts"), "2");
    assert_eq!(said(&call, "quorate-header-region"), "a < b & c");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real queue manager: QUORATE_IBM_MQ_HOST"]
async fn a_second_reader_is_kept_off() {
    let connection = connection();
    let _alone = ALONE.lock().await;
    let (first, _) = member(connection.clone());
    first.active("orders").await;
    let (second, _) = member(connection);
    complains(&second, "orders", "another program has the queue").await;
}
