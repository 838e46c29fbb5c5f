//! Every field of a channel, of its connection and of its service changes while messages flow:
//! nothing is lost or handled twice, and the pause is measured.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_state::OperatorAction;
use quorate_supervisor::{ConnectorState, ConnectorStatus};
use serde_json::{Value, json};

use super::{load::*, world::*};

type Change<'a> = (&'a str, Box<dyn Fn(&mut Value) + 'a>);

fn set<'a>(what: &'a str, field: &'a str, value: Value) -> Change<'a> {
    (what, Box::new(move |it| it[field] = value.clone()))
}

/// Messages that flow through a channel, and the pauses so far.
struct Bed {
    member: SimulatedMember,
    handled: Handled,
    pauses: Vec<(String, Duration)>,
}

impl Bed {
    /// Does something to it and measures the pause.
    async fn during(&mut self, what: &str, doing: impl AsyncFnOnce(&SimulatedMember)) {
        self.handled.more(20).await;
        let from = Instant::now();
        doing(&self.member).await;
        self.handled.more(60).await;
        let pause = self.handled.longest_gap(from);
        self.pauses.push((what.to_owned(), pause));
    }

    /// Makes one change after the other to a resource; gives what it is at last.
    async fn change(&mut self, kind: Kind, mut resource: Value, changes: &[Change<'_>]) -> Value {
        for (what, change) in changes {
            change(&mut resource);
            let what = format!("{kind}: {what}");
            let now = resource.clone();
            self.during(&what, async |member| member.group.put(kind, now))
                .await;
        }
        resource
    }
}

fn is(state: ConnectorState) -> impl Fn(&ConnectorStatus) -> bool {
    move |status| status.state == state && status.pid.is_none() == (state == ConnectorState::Paused)
}

// guarantee: MESSAGE-16
#[tokio::test(flavor = "multi_thread")]
async fn each_change_under_load_loses_and_repeats_nothing() {
    let (broker, queue) = (broker().await, unique("reconfigured"));
    let (second, dead, user) = (
        format!("{queue}-second"),
        format!("{queue}-dead"),
        unique("user"),
    );
    let client = broker.client().await;
    for name in [&queue, &second, &dead] {
        client.declare(name).await;
    }
    broker.ctl(&["add_user", &user, "word"]).await;
    broker
        .ctl(&["set_permissions", &user, ".*", ".*", ".*"])
        .await;
    let member = consuming_member(broker, &queue, 2000).await;
    let mut bed = Bed {
        member,
        handled: Handled::default(),
        pauses: Vec::new(),
    };
    let group = bed.member.group.clone();
    let first = connection(broker.port());
    let mut other = first.clone();
    other["name"] = json!("second");
    group.put(Kind::AmqpConnection, other);
    bed.handled
        .serve(&group, |_, _| (Duration::from_millis(3), 200));
    let load = Load::start(broker, &queue, Duration::from_millis(5)).await;

    let changes = [
        set("prefetch", "prefetch", json!(20)),
        set("pool_size", "pool_size", json!(4)),
        (
            "pool_size left out",
            Box::new(|it: &mut Value| {
                it.as_object_mut().unwrap().remove("pool_size");
            }) as Box<dyn Fn(&mut Value)>,
        ),
        set("ordered", "ordered", json!(true)),
        set("not ordered", "ordered", json!(false)),
        set(
            "on_failure",
            "on_failure",
            json!({"retries": 4, "backoff_ms": 30, "backoff_max_ms": 300}),
        ),
        set("dead_letter", "on_failure", json!({"dead_letter": dead})),
        set("consumer_tag_prefix", "consumer_tag_prefix", json!("other")),
        set("standby", "standby", json!("cold")),
        set("service", "service", json!("other")),
        set("service back", "service", json!("store")),
        set("connection", "connection", json!("second")),
        set("connection back", "connection", json!("broker")),
    ];
    let now = bed
        .change(Kind::AmqpChannel, channel(&queue), &changes)
        .await;

    let changes = [
        set("heartbeat_s", "heartbeat_s", json!(5)),
        set("host", "host", json!("localhost")),
        set("fence lease", "fence", json!("lease")),
        set("fence exclusive", "fence", json!("exclusive")),
        set(
            "management_url",
            "management_url",
            json!("http://127.0.0.1:9/"),
        ),
        (
            "username, password",
            Box::new(|it: &mut Value| {
                (it["username"], it["password"]) = (json!(user), json!("word"));
            }) as Box<dyn Fn(&mut Value)>,
        ),
        set("the same password", "password", json!("word")),
    ];
    bed.change(Kind::AmqpConnection, first, &changes).await;

    let store = json!({"name": "store", "upstream": "http://127.0.0.1:9/"});
    let changes = [
        set("timeout_ms", "timeout_ms", json!(5000)),
        set("retries", "retries", json!(2)),
        set("upstream", "upstream", json!("http://127.0.0.1:10/")),
    ];
    let mut renamed = bed.change(Kind::Service, store, &changes).await;
    renamed["name"] = json!("renamed");
    bed.during("service: another name", async |member| {
        member.group.put(Kind::Service, renamed);
        let mut channel = now.clone();
        channel["service"] = json!("renamed");
        member.group.put(Kind::AmqpChannel, channel);
        member.group.delete(Kind::Service, "store");
    })
    .await;
    let mut now = now;
    now["service"] = json!("renamed");

    let kind = Kind::AmqpChannel;
    bed.during("restart", async |member| {
        let pid = member.status(&queue).unwrap().pid;
        order(&member.group, kind, &queue, OperatorAction::Restart);
        let another =
            |status: &ConnectorStatus| status.pid != pid && is(ConnectorState::Active)(status);
        member.when(&queue, "another process", another).await;
    })
    .await;
    bed.during("pause, resume", async |member| {
        order(&member.group, kind, &queue, OperatorAction::Pause);
        member
            .when(&queue, "paused", is(ConnectorState::Paused))
            .await;
        order(&member.group, kind, &queue, OperatorAction::Resume);
    })
    .await;
    bed.during("active: false, true", async |member| {
        let mut inactive = now.clone();
        inactive["active"] = json!(false);
        member.group.put(kind, inactive);
        member
            .when(&queue, "paused", is(ConnectorState::Paused))
            .await;
        member.group.put(kind, now.clone());
    })
    .await;
    bed.during("delete, create", async |member| {
        member.group.delete(kind, &queue);
        member.group.put(kind, now.clone());
    })
    .await;

    // Another queue, and back: both are emptied.
    const ELSEWHERE: usize = 1_000_000;
    let there = (ELSEWHERE..ELSEWHERE + 50).map(|n| n.to_string());
    client.publish(&second, there).await;
    bed.during("queue", async |member| {
        let mut moved = now.clone();
        moved["queue"] = json!(second);
        member.group.put(kind, moved);
        eventually("the second queue is empty", async || {
            (client.count(&second).await.0 == 0).then_some(())
        })
        .await;
        member.group.put(kind, now.clone());
    })
    .await;

    let published = load.finish().await;
    drained(&client, &bed.member, &queue).await;
    let times = bed.handled.times();
    table("changed under load, a message every 5 ms", &bed.pauses);
    println!(
        "{published} + 50 messages, {} handled again",
        bed.handled.again()
    );
    assert_eq!(times.len(), published + 50, "lost");
    assert_eq!(bed.handled.again(), 0, "handled twice");
    assert_eq!(client.count(&second).await.0, 0);
    assert_eq!(client.count(&dead).await.0, 0);
}
