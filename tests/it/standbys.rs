//! What is told of those that could take a connector over, and that a member that is dead
//! or paused holds nobody up.

use std::{net::Ipv4Addr, time::Duration};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    rabbitmq::{BrokerClient, RabbitBroker},
    traffic::sink::MessageSink,
};
use serde_json::{Value, json};

const QUEUE: &str = "orders";

struct Bed {
    cluster: TestCluster,
    sink: MessageSink,
    broker: BrokerClient,
    _rabbit: RabbitBroker,
}

impl Bed {
    async fn start() -> Bed {
        let rabbit = RabbitBroker::start().await;
        let broker = rabbit.client().await;
        broker.declare(QUEUE).await;
        let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, Duration::ZERO).await;
        let cluster = TestCluster::three().await;
        let service = json!({"name": "sink", "upstream": sink.url()});
        cluster.put(0, "service", service).await;
        let connection = json!({
            "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
            "username": "guest", "password": "guest",
        });
        cluster.put(0, "amqp_connection", connection).await;
        let channel = json!({
            "name": QUEUE, "connection": "rabbit", "queue": QUEUE, "service": "sink",
        });
        cluster.put(0, "amqp_channel", channel).await;
        let bed = Bed {
            cluster,
            sink,
            broker,
            _rabbit: rabbit,
        };
        bed.row(0, |row| {
            row["state"] == "active" && row["ready_standbys"] == 2
        })
        .await;
        bed
    }

    /// Waits until the channel's row, as member `asked` gives it, is as it should be.
    async fn row(&self, asked: usize, right: impl Fn(&Value) -> bool) -> Value {
        eventually("the channel's row", SOON, || async {
            let row = self.cluster.connector(asked, QUEUE).await?;
            right(&row).then_some(row.clone()).ok_or(row.to_string())
        })
        .await
    }
}

// guarantee: FAILOVER-11
#[tokio::test]
async fn unready_standby_is_reported_at_once_with_reason() {
    let mut bed = Bed::start().await;
    let (server, _) = bed.cluster.serving(0).await;
    let (gone, left) = ((server + 1) % 3, (server + 2) % 3);
    let name = bed.cluster.members[gone].name.clone();
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        bed.cluster.members[gone].signal(signal);
        for asked in [server, left] {
            let row = bed.row(asked, |row| row["ready_standbys"] == 1).await;
            let standbys = row["standbys"].as_array().expect("standbys");
            let it = standbys.iter().find(|it| it["member"] == name.as_str());
            let it = it.expect("the member that is gone");
            assert_eq!(it["state"], "unreachable", "{row}");
            assert!(it["last_error"].is_string(), "{row}");
            let begun = Instant::now();
            bed.cluster
                .connector(asked, QUEUE)
                .await
                .expect("an answer");
            let took = begun.elapsed();
            assert!(took < Duration::from_millis(450), "{signal:?}: {took:?}");
        }
        let url = bed.cluster.members[left].admin_url("/v1/cluster/status");
        eventually("a warning", SOON, || async {
            let status = http::get_json(&url).await?;
            let warned = status["warnings"].to_string();
            let right =
                warned.contains(&format!("{name} could not take over amqp_channel/{QUEUE}"));
            right.then_some(()).ok_or(warned)
        })
        .await;
    }
    bed.cluster.members[gone].kill();
    bed.cluster.members[gone].start(&[]);
    bed.row(left, |row| row["ready_standbys"] == 2).await;
}

// guarantee: FAILOVER-12
#[tokio::test]
async fn paused_member_holds_up_no_message() {
    let bed = Bed::start().await;
    let (server, _) = bed.cluster.serving(0).await;
    let paused = (server + 1) % 3;
    let publish = async |name: &str| {
        let ids = (0..30).map(|n| format!("{name}-{n}"));
        bed.broker.publish(QUEUE, ids).await;
    };
    let handled = async |count: usize| {
        eventually("all handled", SOON, || async {
            let now = bed.sink.calls_len();
            (now >= count).then_some(()).ok_or(now.to_string())
        })
        .await;
    };
    publish("before").await;
    handled(30).await;
    bed.cluster.members[paused].signal(Signal::SIGSTOP);
    bed.row(server, |row| row["ready_standbys"] == 1).await;
    let begun = Instant::now();
    publish("after").await;
    handled(60).await;
    let took = begun.elapsed();
    bed.cluster.members[paused].signal(Signal::SIGCONT);
    bed.cluster.voters(3).await;
    println!("30 messages beside a paused member: {took:?}");
    // Its connection would be given up after a second at the earliest.
    assert!(took < Duration::from_millis(900), "{took:?}");
    assert_eq!(bed.sink.calls_len(), 60, "some were tried twice");
}

// guarantee: FAILOVER-1
#[tokio::test]
async fn every_member_reports_death_with_step_times() {
    let mut bed = Bed::start().await;
    let (server, before) = bed.cluster.serving(0).await;
    bed.cluster.members[server].kill();
    let old = bed.cluster.members[server].name.clone();
    let next = bed.cluster.leader_but(Some(server)).await;
    let (holder, epoch) = bed.cluster.serving(next).await;
    assert!(epoch > before);
    bed.cluster.members[server].start(&[]);
    bed.cluster.voters(3).await;
    let mut told = Vec::new();
    for member in &bed.cluster.members {
        let url = member.admin_url("/v1/cluster/takeovers");
        let takeover = eventually("the takeover to be told", SOON, || async {
            let answer = http::get_json(&url).await?;
            let list = answer["takeovers"].as_array().cloned().unwrap_or_default();
            let found = list.into_iter().find(|it| it["epoch"] == epoch);
            found.ok_or(answer.to_string())
        })
        .await;
        told.push(takeover);
    }
    println!("a death, told: {}", told[0]);
    assert!(told.iter().all(|it| *it == told[0]), "{told:?}");
    let it = &told[0];
    assert_eq!(it["reason"], "death");
    assert_eq!(
        (&it["from"], &it["to"]),
        (&json!(old), &json!(bed.cluster.members[holder].name))
    );
    assert_eq!(
        (&it["connectors"], &it["activated"]),
        (&json!(1), &json!(1))
    );
    let steps = [
        "detected_ms",
        "elected_ms",
        "committed_ms",
        "first_active_ms",
        "last_active_ms",
    ];
    let steps: Vec<_> = steps.iter().filter_map(|step| it[step].as_f64()).collect();
    assert!(steps.len() == 5 && steps.is_sorted(), "{it}");
    // The same in the log of the one that took over, in one line.
    let log = std::fs::read_to_string(bed.cluster.members[holder].log()).expect("the log");
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains(&format!("epoch={epoch} ")) && line.contains("last_active_ms"))
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
}
