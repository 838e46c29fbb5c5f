//! Every field of an outgoing changes while messages are sent: the callers wait, none is
//! refused, and each message is sent once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;
use quorate_state::OperatorAction;
use quorate_supervisor::{ConnectorState, ConnectorStatus, SendUnavailable, SupervisorHandle};
use serde_json::json;
use tokio::task::JoinSet;

use super::{load::*, world::*};

/// What callers were told, and when.
type Told = Arc<Mutex<Vec<(Instant, String, Result<SendOutcome, SendUnavailable>)>>>;

/// Callers that send all the while.
struct Callers {
    stop: Arc<AtomicBool>,
    told: Told,
    tasks: JoinSet<()>,
}

impl Callers {
    /// Each asks the members in turn, as a member does that is not the connector server.
    fn start(members: &[&SimulatedMember], name: &str) -> Callers {
        let (stop, told) = (Arc::new(AtomicBool::new(false)), Told::default());
        let mut tasks = JoinSet::new();
        for caller in 0..4 {
            let handles: Vec<SupervisorHandle> =
                members.iter().map(|it| it.handle.clone()).collect();
            let name = name.to_owned();
            let (stop, told) = (stop.clone(), told.clone());
            tasks.spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let body = format!("{caller}-{n}");
                    let message = Send {
                        body: body.clone().into(),
                        ..Send::default()
                    };
                    let deadline = Instant::now() + Duration::from_secs(10);
                    let mut handles = handles.iter().cycle();
                    let sent = loop {
                        let handle = handles.next().unwrap();
                        let message = message.clone();
                        let sending = handle.send("amqp_outgoing", &name, message, deadline);
                        match sending.await {
                            Err(SendUnavailable::Elsewhere) if Instant::now() < deadline => {}
                            sent => break sent,
                        }
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    };
                    told.lock().push((Instant::now(), body, sent));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
        Callers { stop, told, tasks }
    }

    async fn more(&self, n: usize) {
        let enough = self.told.lock().len() + n;
        eventually("more messages are sent", async || {
            (self.told.lock().len() >= enough).then_some(())
        })
        .await;
    }

    fn longest_gap(&self, from: Instant) -> Duration {
        let told = self.told.lock();
        let gaps = told.windows(2).filter(|pair| pair[1].0 >= from);
        gaps.map(|pair| pair[1].0 - pair[0].0).max().unwrap()
    }

    async fn finish(self) -> Vec<(String, Result<SendOutcome, SendUnavailable>)> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        let mut told = self.told.lock();
        told.drain(..).map(|(_, body, sent)| (body, sent)).collect()
    }
}

async fn take_all(client: &BrokerClient, queues: [&str; 2]) -> BTreeMap<String, usize> {
    let mut bodies = BTreeMap::new();
    for queue in queues {
        while let Some(message) = client.take(queue).await {
            let body = String::from_utf8(message.delivery.data).unwrap();
            *bodies.entry(body).or_default() += 1;
        }
    }
    bodies
}

fn once_each(told: &[(String, Result<SendOutcome, SendUnavailable>)]) -> BTreeMap<String, usize> {
    let confirmed = told
        .iter()
        .filter(|(_, sent)| matches!(sent, Ok(SendOutcome::Confirmed { .. })));
    confirmed.map(|(body, _)| (body.clone(), 1)).collect()
}

// guarantee: MESSAGE-16
#[tokio::test(flavor = "multi_thread")]
async fn changes_under_load_refuse_lose_and_repeat_nothing() {
    let (broker, name) = (broker().await, unique("outgoing"));
    let second = format!("{name}-second");
    let client = broker.client().await;
    let binding = client.connection().create_channel().await.unwrap();
    for queue in [&name, &second] {
        client.declare(queue).await;
        binding
            .queue_bind(
                queue.as_str().into(),
                "amq.direct".into(),
                queue.as_str().into(),
                Default::default(),
                Default::default(),
            )
            .await
            .unwrap();
    }
    let group = SimulatedGroup::new();
    let first = connection(broker.port());
    let mut other = first.clone();
    other["name"] = json!("second");
    group.put(Kind::AmqpConnection, first.clone());
    group.put(Kind::AmqpConnection, other);
    let mut outgoing =
        json!({"name": name, "connection": "broker", "exchange": "", "routing_key": name});
    group.put(Kind::AmqpOutgoing, outgoing.clone());
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&name).await;
    let callers = Callers::start(&[&member], &name);
    let mut pauses = Vec::new();

    for (field, value) in [
        ("exchange", json!("amq.direct")),
        ("routing_key", json!(second)),
        ("delivery_mode", json!(1)),
        ("priority", json!(7)),
        ("content_type", json!("text/plain")),
        ("content_encoding", json!("identity")),
        ("expiration_ms", json!(600_000)),
        ("app_id", json!("shop")),
        ("mandatory", json!(false)),
        ("connection", json!("second")),
        ("connection", json!("broker")),
    ] {
        callers.more(20).await;
        let from = Instant::now();
        outgoing[field] = value;
        group.put(Kind::AmqpOutgoing, outgoing.clone());
        callers.more(60).await;
        pauses.push((field.to_owned(), callers.longest_gap(from)));
    }
    let mut reconnected = first;
    reconnected["heartbeat_s"] = json!(5);
    let from = Instant::now();
    group.put(Kind::AmqpConnection, reconnected);
    callers.more(60).await;
    pauses.push((
        "heartbeat_s of the connection".into(),
        callers.longest_gap(from),
    ));
    for _ in 0..3 {
        let pid = member.status(&name).unwrap().pid;
        let from = Instant::now();
        order(&group, Kind::AmqpOutgoing, &name, OperatorAction::Restart);
        let another = |status: &ConnectorStatus| {
            status.pid.is_some() && status.pid != pid && status.state == ConnectorState::Active
        };
        member.when(&name, "another process", another).await;
        callers.more(60).await;
        pauses.push(("restart".into(), callers.longest_gap(from)));
    }

    let told = callers.finish().await;
    table("outgoing changed under load", &pauses);
    let bad: Vec<_> = told
        .iter()
        .filter(|(_, sent)| !matches!(sent, Ok(SendOutcome::Confirmed { .. })))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(take_all(&client, [&name, &second]).await, once_each(&told));
    println!("{} messages, each confirmed and there once", told.len());
}

/// While it is paused or gone its callers are told so; what was under way has its outcome.
// guarantee: MESSAGE-16
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_stay_sure_while_paused_deleted_or_inactive() {
    let (broker, name) = (broker().await, unique("pausing"));
    let client = broker.client().await;
    client.declare(&name).await;
    let group = SimulatedGroup::new();
    group.put(Kind::AmqpConnection, connection(broker.port()));
    let outgoing =
        json!({"name": name, "connection": "broker", "exchange": "", "routing_key": name});
    group.put(Kind::AmqpOutgoing, outgoing.clone());
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&name).await;
    let callers = Callers::start(&[&member], &name);
    let kind = Kind::AmqpOutgoing;
    let mut inactive = outgoing.clone();
    inactive["active"] = json!(false);
    for _ in 0..3 {
        callers.more(40).await;
        order(&group, kind, &name, OperatorAction::Pause);
        callers.more(40).await;
        order(&group, kind, &name, OperatorAction::Resume);
        callers.more(40).await;
        group.delete(kind, &name);
        callers.more(40).await;
        group.put(kind, outgoing.clone());
        callers.more(40).await;
        group.put(kind, inactive.clone());
        callers.more(40).await;
        group.put(kind, outgoing.clone());
    }
    callers.more(40).await;
    let told = callers.finish().await;
    let count = |is: fn(&Result<SendOutcome, SendUnavailable>) -> bool| {
        told.iter().filter(|it| is(&it.1)).count()
    };
    let confirmed = count(|it| matches!(it, Ok(SendOutcome::Confirmed { .. })));
    let paused = count(|it| matches!(it, Err(SendUnavailable::Paused)));
    let missing = count(|it| matches!(it, Err(SendUnavailable::Missing)));
    println!(
        "{confirmed} confirmed, {paused} paused, {missing} missing of {}",
        told.len()
    );
    assert!(confirmed > 0 && paused > 0 && missing > 0);
    assert_eq!(confirmed + paused + missing, told.len(), "{told:?}");
    assert_eq!(take_all(&client, [&name, &name]).await, once_each(&told));
}

/// The callers wait for the next connector server instead of failing.
// guarantee: MESSAGE-16
#[tokio::test(flavor = "multi_thread")]
async fn transfers_under_load_refuse_lose_and_repeat_nothing() {
    let (broker, name) = (broker().await, unique("handed-over"));
    let client = broker.client().await;
    client.declare(&name).await;
    let group = SimulatedGroup::new();
    group.put(Kind::AmqpConnection, connection(broker.port()));
    let outgoing =
        json!({"name": name, "connection": "broker", "exchange": "", "routing_key": name});
    group.put(Kind::AmqpOutgoing, outgoing);
    let (one, two) = (
        SimulatedMember::start(&group, 1, 500),
        SimulatedMember::start(&group, 2, 500),
    );
    one.lead(2);
    one.active(&name).await;
    let callers = Callers::start(&[&one, &two], &name);
    let (mut now, mut then) = (&one, &two);
    let mut pauses = Vec::new();
    for term in 3..9 {
        callers.more(60).await;
        let from = Instant::now();
        let _parted = now.handle.release(Duration::from_secs(5)).await;
        now.step_down(term);
        then.lead(term);
        then.active(&name).await;
        std::mem::swap(&mut now, &mut then);
        callers.more(60).await;
        pauses.push(("transfer".to_owned(), callers.longest_gap(from)));
    }
    let told = callers.finish().await;
    table("outgoing handed over under load", &pauses);
    let confirmed = once_each(&told);
    assert_eq!(confirmed.len(), told.len(), "{told:?}");
    assert_eq!(take_all(&client, [&name, &name]).await, confirmed);
}
