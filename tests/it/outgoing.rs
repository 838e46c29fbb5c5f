//! Sending by an AMQP outgoing, from any member, through what may happen to it.

mod doubt;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    process::signal,
    rabbitmq::{BrokerClient, RabbitBroker},
};
use reqwest::Method;
use serde_json::{Value, json};

/// A cluster, a broker, and an outgoing to the queue `invoices`.
struct Bed {
    cluster: TestCluster,
    rabbit: RabbitBroker,
    broker: BrokerClient,
}

impl Bed {
    async fn start() -> Bed {
        let cluster = TestCluster::three().await;
        let rabbit = RabbitBroker::start().await;
        let broker = rabbit.client().await;
        broker.declare("invoices").await;
        let connection = json!({
            "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
            "username": "guest", "password": "guest",
        });
        cluster.put(0, "amqp_connection", connection).await;
        let outgoing = json!({
            "name": "invoices", "connection": "rabbit", "exchange": "", "routing_key": "invoices",
        });
        cluster.put(1, "amqp_outgoing", outgoing).await;
        cluster.connector_in(2, "invoices", "active").await;
        Bed {
            cluster,
            rabbit,
            broker,
        }
    }

    fn url(&self, at: usize, path: &str) -> String {
        self.cluster.members[at].admin_url(path)
    }

    /// Has a body sent at member `at`; the status, and what was answered.
    async fn send(&self, at: usize, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let url = self.url(at, "/v1/outgoing/amqp_outgoing/invoices/send");
        send(&url, headers, body).await.expect("an answer")
    }

    /// The bodies that are in the queue, each with how often; empties it.
    async fn bodies(&self) -> BTreeMap<String, usize> {
        let mut bodies = BTreeMap::new();
        while let Some(message) = self.broker.take("invoices").await {
            let body = String::from_utf8(message.delivery.data).expect("text");
            *bodies.entry(body).or_default() += 1;
        }
        bodies
    }

    async fn order(&self, at: usize, order: &str) -> (u16, Value) {
        let url = self.url(
            at,
            &format!("/v1/connectors/amqp_outgoing/invoices/{order}"),
        );
        send(&url, &[], "").await.expect("an answer")
    }
}

async fn send(url: &str, headers: &[(&str, &str)], body: &str) -> Result<(u16, Value), String> {
    let response = http::call(Method::POST, url, headers, body.to_owned()).await?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(|error| error.to_string())?;
    let answer = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
    Ok((status, answer))
}

/// A member that is not the connector server.
fn other(server: usize) -> usize {
    (server + 1) % 3
}

// guarantee: SEND-1
#[tokio::test]
async fn any_member_sends_and_reports_the_outcome() {
    let bed = Bed::start().await;
    for at in 0..3 {
        let headers = [
            ("content-type", "text/plain"),
            ("quorate-message-id", "m-7"),
            ("quorate-header-tenant", "acme"),
            ("quorate-property-priority", "7"),
        ];
        let (status, answer) = bed.send(at, &headers, "hello").await;
        assert_eq!(
            (status, &answer["message_id"]),
            (200, &json!("m-7")),
            "{answer}"
        );
        let message = bed.broker.take("invoices").await.expect("it is there");
        let properties = &message.delivery.properties;
        assert_eq!(message.delivery.data, b"hello");
        assert_eq!(
            properties.message_id().as_ref().map(|id| id.as_str()),
            Some("m-7")
        );
        assert_eq!(properties.priority(), &Some(7));
        assert_eq!(properties.delivery_mode(), &Some(2));
        let headers = properties.headers().as_ref().expect("headers").inner();
        assert!(headers.contains_key("tenant"), "{headers:?}");
    }
    let (status, answer) = bed
        .send(0, &[("quorate-property-routing-key", "nowhere")], "x")
        .await;
    assert_eq!(
        (status, &answer["code"]),
        (502, &json!("refused")),
        "{answer}"
    );
    let detail = answer["detail"].as_str().expect("a detail");
    assert!(detail.contains("nowhere"), "{detail}");
    let (status, answer) = bed
        .send(1, &[("quorate-property-colour", "red")], "x")
        .await;
    assert_eq!(status, 502, "{answer}");
    assert!(answer["detail"].to_string().contains("colour"), "{answer}");
    for (path, status, code) in [
        ("/v1/outgoing/amqp_outgoing/missing/send", 404, "not_found"),
        ("/v1/outgoing/amqp_channel/invoices/send", 404, "not_found"),
    ] {
        for at in 0..3 {
            let answered = send(&bed.url(at, path), &[], "x").await.expect("an answer");
            assert_eq!(
                (answered.0, &answered.1["code"]),
                (status, &json!(code)),
                "{answered:?}"
            );
        }
    }
    let (status, answer) = bed.send(2, &[("quorate-within-ms", "a minute")], "x").await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(bed.bodies().await, BTreeMap::new());
}

/// What was not sent because there is no broker is not told as what may have been sent at the
/// end of the caller's time, also where another member passes it on: no try is begun so late
/// that the word of the one who is asked would come after it.
// Less time than these leaves nothing for that word on a machine that is held up.
#[tokio::test]
async fn missing_broker_yields_surely_not_sent_in_time() {
    let mut bed = Bed::start().await;
    let (server, _) = bed.cluster.serving(0).await;
    bed.rabbit.kill();
    eventually("the loss is noticed", SOON, || async {
        let status = bed.cluster.connector(server, "invoices").await?;
        let lost = status["state"] != "active";
        lost.then_some(()).ok_or(status.to_string())
    })
    .await;
    for within in [260, 400, 700, 1_000] {
        for at in [server, other(server)] {
            let headers = [("quorate-within-ms", &*within.to_string())];
            let (status, answer) = bed.send(at, &headers, "x").await;
            assert_eq!(status, 503, "within {within} ms at member {at}: {answer}");
        }
    }
}

/// Eight callers send all the while, each message under a key of its own, and try again what
/// was not confirmed. The connector server dies in the middle.
// guarantee: SEND-1, SEND-4, SEND-5
#[tokio::test]
async fn kill_loses_nothing_and_repeats_no_keyed_send() {
    let mut bed = Bed::start().await;
    let (server, epoch) = bed.cluster.serving(0).await;
    eventually("two members that stand by", SOON, || async {
        let status = bed.cluster.connector(other(server), "invoices").await?;
        let ready = status["ready_standbys"] == 2;
        ready.then_some(()).ok_or(status.to_string())
    })
    .await;
    let done = Arc::new(AtomicBool::new(false));
    let confirmed = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let at = if caller % 2 == 0 {
            other(server)
        } else {
            other(other(server))
        };
        let url = bed.url(at, "/v1/outgoing/amqp_outgoing/invoices/send");
        let (done, confirmed) = (done.clone(), confirmed.clone());
        callers.spawn(async move {
            let (mut sure, mut unknown, mut not_sent, mut longest) =
                (vec![], vec![], 0, Duration::ZERO);
            let mut n = 0;
            while !done.load(Ordering::SeqCst) {
                let body = format!("{caller}-{n}");
                n += 1;
                let began = Instant::now();
                let answer = send(&url, &[("quorate-idempotency-key", &body)], &body).await;
                longest = longest.max(began.elapsed());
                match answer.expect("a live member answers") {
                    (200, _) => {
                        confirmed.fetch_add(1, Ordering::SeqCst);
                        sure.push(body);
                    }
                    (504, _) => unknown.push(body),
                    (503, _) => not_sent += 1,
                    (status, answer) => panic!("{status} {answer}"),
                }
            }
            (sure, unknown, not_sent, longest)
        });
    }
    let confirm = async |more: usize| {
        let from = confirmed.load(Ordering::SeqCst);
        eventually("more confirmed", SOON, || async {
            let now = confirmed.load(Ordering::SeqCst);
            (now >= from + more).then_some(()).ok_or(now.to_string())
        })
        .await;
    };
    confirm(200).await;
    bed.cluster.members[server].kill();
    confirm(200).await;
    done.store(true, Ordering::SeqCst);
    let (mut sure, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    let (mut not_sent, mut longest) = (0, Duration::ZERO);
    for (a, b, c, d) in callers.join_all().await {
        sure.extend(a);
        unknown.extend(b);
        not_sent += c;
        longest = longest.max(d);
    }
    let now = bed.cluster.serving(other(server)).await;
    assert!(now.1 > epoch);
    println!(
        "{} confirmed, {} unknown, {not_sent} not sent; the longest call took {longest:?}",
        sure.len(),
        unknown.len()
    );
    // Each caller had one call under way at the kill at most.
    assert!(unknown.len() <= 8, "{unknown:?}");
    assert_eq!(not_sent, 0, "callers wait instead of failing");
    // What was unknown stays unknown, or was found out; it is never sent again.
    for body in &unknown {
        let (status, answer) = bed
            .send(
                other(server),
                &[
                    ("quorate-idempotency-key", body),
                    ("quorate-within-ms", "300"),
                ],
                body,
            )
            .await;
        assert!(matches!(status, 200 | 504), "{status} {answer}");
    }
    let bodies = bed.bodies().await;
    let twice: Vec<_> = bodies.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let there: BTreeSet<_> = bodies.into_keys().collect();
    let lost: Vec<_> = sure.difference(&there).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let surprising: Vec<_> = there
        .iter()
        .filter(|it| !sure.contains(*it) && !unknown.contains(*it))
        .collect();
    assert!(surprising.is_empty(), "{surprising:?}");
}

// guarantee: SEND-5
#[tokio::test]
async fn same_key_returns_first_outcome_after_takeover() {
    let mut bed = Bed::start().await;
    let (server, _) = bed.cluster.serving(0).await;
    let key = [("quorate-idempotency-key", "k-1")];
    let (status, first) = bed.send(other(server), &key, "once").await;
    assert_eq!(status, 200, "{first}");
    for at in 0..3 {
        assert_eq!(bed.send(at, &key, "once").await, (200, first.clone()));
    }
    let (status, answer) = bed.send(0, &key, "another").await;
    assert_eq!(
        (status, &answer["code"]),
        (422, &json!("invalid")),
        "{answer}"
    );
    bed.cluster.members[server].kill();
    assert_eq!(bed.send(other(server), &key, "once").await, (200, first));
    assert_eq!(bed.bodies().await, BTreeMap::from([("once".to_owned(), 1)]));
}

/// The broker says nothing, so that the intent is in the log and the outcome is not, when the
/// connector server dies.
// guarantee: SEND-5
#[tokio::test]
async fn send_interrupted_by_death_is_reported_not_repeated() {
    let mut bed = Bed::start().await;
    let (server, _) = bed.cluster.serving(0).await;
    let at = other(server);
    let url = bed.url(at, "/v1/outgoing/amqp_outgoing/invoices/send");
    let key = [
        ("quorate-idempotency-key", "k-2"),
        ("quorate-within-ms", "8000"),
    ];
    let broker = bed.rabbit.pid().expect("it runs");
    signal(broker, Signal::SIGSTOP);
    let waiting = tokio::spawn(async move { send(&url, &key, "perhaps").await });
    eventually("the send is under way", SOON, || async {
        let status = bed.cluster.connector(at, "invoices").await?;
        (status["in_flight"] == 1)
            .then_some(())
            .ok_or(status.to_string())
    })
    .await;
    bed.cluster.members[server].kill();
    let (status, answer) = waiting.await.expect("a task").expect("an answer");
    assert_eq!(
        (status, &answer["code"]),
        (504, &json!("unknown_outcome")),
        "{answer}"
    );
    bed.cluster.leader_but(Some(server)).await;
    bed.cluster.serving(at).await;
    let again = [
        ("quorate-idempotency-key", "k-2"),
        ("quorate-within-ms", "2000"),
    ];
    let (status, answer) = bed.send(at, &again, "perhaps").await;
    assert_eq!(
        (status, &answer["code"]),
        (504, &json!("unknown_outcome")),
        "{answer}"
    );
    signal(broker, Signal::SIGCONT);
    bed.cluster.connector_in(at, "invoices", "active").await;
    let (status, answer) = bed.send(at, &again, "perhaps").await;
    assert_eq!(status, 504, "{answer}");
    let (status, answer) = bed.send(at, &[], "the next").await;
    assert_eq!(status, 200, "{answer}");
    let bodies = bed.bodies().await;
    assert_eq!(bodies.get("the next"), Some(&1));
    assert!(
        bodies.get("perhaps").is_none_or(|times| *times == 1),
        "{bodies:?}"
    );
}

// guarantee: SEND-7
#[tokio::test]
async fn pause_lasts_across_takeover_until_resumed() {
    let mut bed = Bed::start().await;
    let (server, _) = bed.cluster.serving(0).await;
    let (status, answer) = bed.order(other(server), "pause").await;
    assert_eq!((status, &answer["paused"]), (200, &json!(true)), "{answer}");
    bed.cluster.connector_in(0, "invoices", "paused").await;
    let (status, answer) = bed.send(0, &[], "x").await;
    assert_eq!(
        (status, &answer["code"]),
        (409, &json!("paused")),
        "{answer}"
    );
    bed.cluster.members[server].kill();
    let at = other(server);
    bed.cluster.leader_but(Some(server)).await;
    bed.cluster.serving(at).await;
    bed.cluster.connector_in(at, "invoices", "paused").await;
    assert_eq!(bed.send(at, &[], "x").await.0, 409);
    let (status, answer) = bed.order(at, "resume").await;
    assert_eq!(
        (status, &answer["paused"]),
        (200, &json!(false)),
        "{answer}"
    );
    let (status, answer) = bed.send(at, &[], "y").await;
    assert_eq!(status, 200, "it waits for the process: {answer}");
    assert_eq!(bed.bodies().await, BTreeMap::from([("y".to_owned(), 1)]));

    let before = bed.cluster.connector_in(at, "invoices", "active").await;
    let (status, _) = bed.order(at, "restart").await;
    assert_eq!(status, 200);
    eventually("another process", SOON, || async {
        let now = bed.cluster.connector(at, "invoices").await?;
        let another = now["state"] == "active" && now["pid"] != before["pid"];
        another.then_some(()).ok_or(now.to_string())
    })
    .await;
    let url = bed.url(at, "/v1/connectors/amqp_outgoing/missing/pause");
    assert_eq!(send(&url, &[], "").await.expect("an answer").0, 404);
    let url = bed.url(at, "/v1/connectors/amqp_connection/rabbit/pause");
    assert_eq!(send(&url, &[], "").await.expect("an answer").0, 422);
}
