//! A connector server that hangs with everything it runs, and keeps its connection: the
//! successor has the broker close it.

use std::{net::Ipv4Addr, time::Duration};

use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_state::{self as state, BrokerConnection};
use serde_json::json;
use tokio::sync::OnceCell;

use super::{processes::Holder, world::*};

async fn managed() -> &'static RabbitBroker {
    static BROKER: OnceCell<RabbitBroker> = OnceCell::const_new();
    BROKER
        .get_or_init(|| RabbitBroker::start_managed(Ipv4Addr::LOCALHOST))
        .await
}

/// A successor that stands by and knows of the holder what the log says of it.
async fn successor(
    queue: &str,
    fence: &str,
    url: &str,
    former: &BrokerConnection,
) -> SimulatedMember {
    let group = group_with_channel(managed().await, queue);
    let mut broker = connection(managed().await.port());
    broker["fence"] = json!(fence);
    broker["management_url"] = json!(url);
    // Longer than any test: nothing but the close lets the successor in.
    broker["heartbeat_s"] = json!(300);
    group.put(Kind::AmqpConnection, broker);
    group.apply(2, 1, &state::Command::TakeOver { member: 1, term: 2 });
    let connector = format!("amqp_channel/{queue}");
    group.apply(
        2,
        1,
        &state::Command::RecordBrokerConnections {
            member: 1,
            connections: [(connector, former.clone())].into(),
        },
    );
    let member = SimulatedMember::start(&group, 2, 1000);
    member
        .when(queue, "standby", |it| {
            it.state == quorate_supervisor::ConnectorState::Standby
        })
        .await;
    member
}

/// The time from the election to the first of five messages that the stopped holder had
/// been sent, and that all of them were handled.
async fn takes_over(fence: &str, rename: bool) -> Duration {
    let (broker, queue) = (managed().await, unique("hangs"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let holder = Holder::start(&queue, broker.port(), Some(fence)).await;
    let mut known = holder.connection.clone();
    if rename {
        // As where addresses are translated on the way to the broker.
        known.name = "192.0.2.1:1 -> 192.0.2.2:5672".into();
    }
    client.publish(&queue, bodies(5)).await;
    eventually("the holder has them", async || {
        (client.count(&queue).await == (0, 1)).then_some(())
    })
    .await;
    let url = broker.management_url().unwrap();
    let second = successor(&queue, fence, &url, &known).await;
    // The broker shows connections with a delay of some seconds.
    let shown = format!("{url}/api/connections?columns=user_provided_name");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    eventually("the broker shows the connection", async || {
        let asked = http.get(&shown).basic_auth("guest", Some("guest"));
        let text = asked.send().await.ok()?.text().await.ok()?;
        text.contains(&known.label).then_some(())
    })
    .await;
    holder.stop();
    let at = Instant::now();
    second.lead(3);
    let first = eventually("the first is handled", async || {
        second.group.calls.lock().first().map(|call| call.at)
    })
    .await;
    drained(&client, &second, &queue).await;
    assert_eq!(second.group.calls_by_body().len(), 5);
    first - at
}

// guarantee: FAILOVER-9
#[tokio::test(flavor = "multi_thread")]
async fn hanging_exclusive_consumer_is_closed_by_name() {
    let took = takes_over("exclusive", false).await;
    println!("handled {took:?} after the election, exclusive");
    assert!(took < Duration::from_millis(1000), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_hanging_connector_return_to_queue() {
    let took = takes_over("lease", false).await;
    println!("handled {took:?} after the election, lease");
    // Once a holder that lives would have had the time to finish.
    assert!(took < Duration::from_millis(2500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_connection_is_found_by_its_label() {
    let took = takes_over("exclusive", true).await;
    println!("handled {took:?} after the election, by label");
    assert!(took < Duration::from_millis(2000), "{took:?}");
}

/// The one before the last holder was lost as well, and nobody has closed what it left: its
/// consumer still has the queue.
// guarantee: FAILOVER-9
#[tokio::test(flavor = "multi_thread")]
async fn connections_of_two_successive_lost_holders_are_closed() {
    let (broker, queue) = (managed().await, unique("two-lost"));
    broker.client().await.declare(&queue).await;
    let holder = Holder::start(&queue, broker.port(), Some("exclusive")).await;
    let url = broker.management_url().unwrap();
    let last = successor(&queue, "exclusive", &url, &holder.connection).await;
    holder.stop();
    // Member 3 took over from the first, and was lost before it could close anything.
    last.group
        .apply(3, 3, &state::Command::TakeOver { member: 3, term: 3 });
    let at = Instant::now();
    last.lead(4);
    last.misses([1, 3]);
    last.active(&queue).await;
    println!("consuming {:?} after the election", at.elapsed());
}

/// A management API that does not answer, or refuses, delays nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_does_not_need_the_management_face() {
    let (broker, url) = (managed().await, managed().await.management_url().unwrap());
    let client = broker.client().await;
    for url in ["http://127.0.0.1:9", &url.replace("//", "//guest:wrong@")] {
        let queue = unique("unmanaged");
        client.declare(&queue).await;
        let gone = BrokerConnection {
            name: "127.0.0.1:1 -> 127.0.0.1:2".into(),
            label: "gone".into(),
        };
        let second = successor(&queue, "lease", url, &gone).await;
        let at = Instant::now();
        second.lead(3);
        let active = second.active(&queue).await.activated_at.unwrap();
        println!("consuming {:?} after the election", active - at);
        assert!(active - at < Duration::from_millis(1000));
    }
}
