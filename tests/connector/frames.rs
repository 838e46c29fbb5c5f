//! A broker whose frames are small: what doesn't fit into one breaks nothing.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Send};
use quorate_resources::Kind;
use serde_json::json;

use super::world::*;

/// The least that AMQP lets a broker ask for is 4096.
const FRAME: usize = 8192;

async fn send(member: &SimulatedMember, name: &str, bytes: usize) -> SendOutcome {
    let header = Header {
        name: "large".to_owned(),
        value: vec![b'x'; bytes].into(),
    };
    let large = Send {
        headers: vec![header],
        body: "body".into(),
        ..Send::default()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    let sent = member.handle.send("amqp_outgoing", name, large, deadline);
    sent.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_beyond_frame_size_are_refused_alone() {
    let broker = RabbitBroker::start().await;
    let bound = format!("application:set_env(rabbit, frame_max, {FRAME}).");
    broker.ctl(&["eval", &bound]).await;
    let name = unique("small-frames");
    let client = broker.client().await;
    client.declare(&name).await;
    let group = SimulatedGroup::with_services();
    group.put(Kind::AmqpConnection, connection(broker.port()));
    let outgoing = json!({"name": name, "connection": "broker", "exchange": "",
                          "routing_key": name});
    group.put(Kind::AmqpOutgoing, outgoing);
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&name).await;
    // One byte more each time, over the bound: none may end the connection.
    let (mut confirmed, mut refused) = (0, 0);
    for bytes in FRAME - 200..FRAME - 10 {
        match send(&member, &name, bytes).await {
            SendOutcome::Confirmed { .. } if refused == 0 => confirmed += 1,
            SendOutcome::Refused(why) => {
                refused += 1;
                assert!(why.contains("headers and properties take"), "{why}");
                assert!(why.contains("the broker takes 8184"), "{why}");
            }
            other => panic!("{bytes}: {other:?}"),
        }
    }
    println!("{confirmed} confirmed, {refused} refused");
    assert!(confirmed > 0 && refused > 0);
    let far_beyond = send(&member, &name, 3 * FRAME).await;
    assert!(
        matches!(far_beyond, SendOutcome::Refused(_)),
        "{far_beyond:?}"
    );
    assert!(matches!(
        send(&member, &name, 10).await,
        SendOutcome::Confirmed { .. }
    ));
    let seen = member
        .when(&name, "all are counted", |status| {
            status.counts.sent == confirmed + 1
        })
        .await;
    assert_eq!(seen.counts.reconnects, 0);
    assert_eq!(client.count(&name).await.0, confirmed as u32 + 1);
}
