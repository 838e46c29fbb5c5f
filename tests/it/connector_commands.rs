//! `quorate connector` and what else tells of connectors, against a real cluster.

use std::{process::Stdio, time::Duration};

use axum::{Router, body::Bytes};
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    programs::QUORATE,
    rabbitmq::{BrokerClient, RabbitBroker},
    upstream::UpstreamServer,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// A cluster, a broker, a channel `orders` and an outgoing `invoices`.
struct Bed {
    cluster: TestCluster,
    rabbit: RabbitBroker,
    broker: BrokerClient,
    upstream: UpstreamServer,
}

/// How a command ended.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// It ended so, and said all of this on stderr.
    fn refused(&self, code: i32, texts: &[&str]) {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(code), ""),
            "{self}"
        );
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in {self}");
        }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Said {
            code,
            stdout,
            stderr,
        } = self;
        write!(f, "exit {code:?}\n{stdout}\n{stderr}")
    }
}

impl Bed {
    async fn start() -> Bed {
        let cluster = TestCluster::three().await;
        let rabbit = RabbitBroker::start().await;
        let broker = rabbit.client().await;
        for queue in ["orders", "orders-dead", "invoices"] {
            broker.declare(queue).await;
        }
        let upstream = UpstreamServer::start().await;
        let bed = Bed {
            cluster,
            rabbit,
            broker,
            upstream,
        };
        bed.service(&bed.upstream.url(), 5000).await;
        let port = bed.rabbit.port();
        let put = async |kind, resource| bed.cluster.put(0, kind, resource).await;
        put("amqp_connection", json!({"name": "rabbit", "host": "127.0.0.1", "port": port, "username": "guest", "password": "guest"})).await;
        put("amqp_channel", json!({"name": "orders", "connection": "rabbit", "queue": "orders", "service": "store",
            "on_failure": {"retries": 2, "backoff_ms": 20, "backoff_max_ms": 100, "dead_letter": "orders-dead"}})).await;
        put("amqp_outgoing", json!({"name": "invoices", "connection": "rabbit", "exchange": "", "routing_key": "invoices"})).await;
        for name in ["orders", "invoices"] {
            bed.cluster.connector_in(1, name, "active").await;
        }
        bed
    }

    async fn service(&self, url: &str, timeout_ms: u64) {
        let service = json!({"name": "store", "upstream": url, "timeout_ms": timeout_ms});
        self.cluster.put(0, "service", service).await;
    }

    /// Runs `quorate` with these arguments, and this on its standard input.
    async fn run(&self, arguments: &str, stdin: &str) -> Said {
        let urls: Vec<String> = self
            .cluster
            .members
            .iter()
            .map(|it| it.admin_url(""))
            .collect();
        let mut child = tokio::process::Command::new(&*QUORATE)
            .args(arguments.split_whitespace())
            .env("QUORATE_ADMIN", urls.join(","))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a run");
        let mut input = child.stdin.take().expect("its input");
        input.write_all(stdin.as_bytes()).await.expect("it reads");
        drop(input);
        let output = child.wait_with_output().await.expect("an end");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Said {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    async fn connector(&self, arguments: &str) -> Said {
        self.run(&format!("connector {arguments}"), "").await
    }

    async fn when(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, SOON, || async {
            let status = self.cluster.connector(1, name).await?;
            is(&status)
                .then_some(status.clone())
                .ok_or(status.to_string())
        })
        .await
    }

    /// A counter or gauge of the connector server.
    async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (server, _) = self.cluster.serving(0).await;
        let url = self.cluster.members[server].admin_url("/metrics");
        let answer = http::call(reqwest::Method::GET, &url, &[], "").await;
        let text = answer.expect("an answer").text().await.expect("text");
        let found = text
            .lines()
            .find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        let value = found.and_then(|line| line.rsplit(' ').next());
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

#[tokio::test]
async fn connector_output_is_readable_by_people_and_programs() {
    let bed = Bed::start().await;
    bed.broker.publish("orders", ["a".to_owned()]).await;
    bed.when("orders", "one handled", |it| it["handled"] == 1)
        .await;

    let list = bed.connector("list").await;
    let lines: Vec<&str> = list.stdout.lines().collect();
    assert_eq!((list.code, lines.len()), (Some(0), 3), "{list}");
    assert!(lines[0].starts_with("KIND"), "{list}");
    let cells: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(cells[..3], ["amqp_channel", "orders", "active"], "{list}");
    let list = bed.connector("list --output json").await.json();
    assert_eq!(list["connectors"][0]["handled"], 1, "{list}");
    assert_eq!(list["connectors"][1]["name"], "invoices", "{list}");

    let told = bed.connector("describe amqp_channel orders").await;
    for row in [
        ["prefetch", "10"],
        ["on_failure.dead_letter", "orders-dead"],
        ["now.state", "active"],
        ["now.handled", "1"],
    ] {
        let line = told
            .stdout
            .lines()
            .find(|line| line.split_whitespace().eq(row));
        assert!(line.is_some(), "{row:?} is not in {told}");
    }
    let told = bed
        .connector("describe amqp_channel orders --output json")
        .await
        .json();
    assert_eq!(told["connector"]["state"], "active", "{told}");
    assert!(
        told["resource"].to_string().contains("orders-dead"),
        "{told}"
    );

    let sent = bed
        .run("connector send amqp_outgoing invoices - --message-id m-1 --header tenant=acme --property priority=7", "from stdin")
        .await;
    assert_eq!(
        (sent.code, sent.stdout.as_str()),
        (Some(0), "confirmed: m-1\n"),
        "{sent}"
    );
    let message = bed.broker.take("invoices").await.expect("it is there");
    assert_eq!(message.delivery.data, b"from stdin");
    assert_eq!(message.delivery.properties.priority(), &Some(7));
    let sent = bed
        .connector("send amqp_outgoing invoices hello --message-id m-2 --output json")
        .await;
    assert_eq!(sent.json()["message_id"], "m-2");

    let refused = bed
        .connector("send amqp_outgoing invoices x --property routing-key=nowhere")
        .await;
    refused.refused(1, &["no queue takes", "nowhere"]);
    let refused = bed
        .connector("send amqp_outgoing invoices x --property colour")
        .await;
    refused.refused(2, &["NAME=VALUE"]);
    let refused = bed
        .connector("send amqp_outgoing invoices x --header a:b=c")
        .await;
    refused.refused(2, &["a:b"]);
    let refused = bed.connector("send amqp_channel orders x").await;
    refused.refused(1, &["amqp_channel"]);
    let refused = bed.connector("pause amqp_chanel orders").await;
    refused.refused(2, &["amqp_chanel", "amqp_channel"]);
    let refused = bed.connector("pause amqp_channel nobody").await;
    refused.refused(1, &["amqp_channel/nobody"]);
    let refused = bed.connector("describe amqp_channel nobody").await;
    refused.refused(1, &["nobody"]);
    let refused = bed.connector("drain amqp_connection rabbit").await;
    refused.refused(1, &["amqp_connection"]);
}

// guarantee: MESSAGE-16
#[tokio::test]
async fn drained_channel_finishes_and_takes_nothing_more() {
    let bed = Bed::start().await;
    bed.upstream.delay(Duration::from_millis(3000));
    bed.broker
        .publish("orders", (0..5).map(|n| n.to_string()))
        .await;
    bed.when("orders", "five in flight", |it| it["in_flight"] == 5)
        .await;
    let impatient = bed.connector("drain amqp_channel orders --timeout 1").await;
    impatient.refused(
        1,
        &[
            "amqp_channel/orders is paused, but",
            "in flight: 5",
            "--timeout",
        ],
    );
    let drained = bed.connector("drain amqp_channel orders").await;
    let told = "amqp_channel/orders is paused; nothing is in flight\n";
    assert_eq!(
        (drained.code, drained.stdout.as_str()),
        (Some(0), told),
        "{drained}"
    );
    assert_eq!((bed.upstream.handled(), bed.upstream.duplicates()), (5, 0));
    assert_eq!(bed.broker.count("orders").await, (0, 0));
    bed.upstream.delay(Duration::ZERO);
    bed.broker.publish("orders", ["later".to_owned()]).await;

    let again = bed.connector("pause amqp_channel orders").await;
    assert_eq!(again.stdout, "amqp_channel/orders was paused already\n");
    let drained = bed
        .connector("drain amqp_channel orders --output json")
        .await;
    assert_eq!(drained.json()["paused"], true);
    assert_eq!(
        (bed.upstream.handled(), bed.broker.count("orders").await.0),
        (5, 1)
    );
    let resumed = bed.connector("resume amqp_channel orders").await;
    assert_eq!(resumed.stdout, "amqp_channel/orders is resumed\n");
    let resumed = bed
        .connector("resume amqp_channel orders --output json")
        .await;
    assert_eq!(resumed.json()["changed"], false);
    let before = bed.when("orders", "handled", |it| it["handled"] == 1).await;
    let restarted = bed.connector("restart amqp_channel orders").await;
    assert_eq!(restarted.stdout, "amqp_channel/orders is being restarted\n");
    bed.when("orders", "another process", |it| {
        it["state"] == "active" && it["pid"] != before["pid"]
    })
    .await;
    assert_eq!((bed.upstream.handled(), bed.upstream.duplicates()), (6, 0));
}

// guarantee: MESSAGE-17
#[tokio::test]
async fn stalled_channel_is_reported_everywhere_until_settling() {
    let bed = Bed::start().await;
    bed.cluster
        .put(
            0,
            "amqp_channel",
            json!({"name": "orders", "connection": "rabbit", "queue": "orders", "service": "store",
            "on_failure": {"retries": 100, "backoff_ms": 20, "backoff_max_ms": 100}}),
        )
        .await;
    bed.service(&bed.upstream.url(), 1000).await;
    bed.upstream.answer(500);
    bed.broker
        .publish("orders", (0..3).map(|n| n.to_string()))
        .await;
    let told = bed
        .when("orders", "stalled", |it| it["stalled_s"].is_u64())
        .await;
    assert_eq!(told["state"], "active", "{told}");
    let labels = ["amqp_channel", "orders"];
    assert!(
        bed.metric("quorate_connector_stalled_seconds", &labels)
            .await
            >= 5.0
    );
    let list = bed.connector("list").await;
    assert!(list.stdout.contains("stalled"), "{list}");
    let sentence = "amqp_channel/orders is stalled: messages wait and none was settled for";
    assert!(list.stderr.contains(sentence), "{list}");
    let status = bed.run("status", "").await;
    assert!(format!("{status}").contains(sentence), "{status}");
    assert!(
        format!("{status}").contains("store answered 500"),
        "{status}"
    );

    bed.upstream.answer(200);
    bed.when("orders", "settled", |it| {
        it["stalled_s"].is_null() && it["handled"] == 3
    })
    .await;
    assert_eq!(
        bed.metric("quorate_connector_stalled_seconds", &labels)
            .await,
        0.0
    );
    let status = bed.run("status", "").await;
    assert!(!format!("{status}").contains("stalled"), "{status}");
}

/// An upstream service that answers each message with one to be sent; those that begin with
/// `bad` fail.
async fn forwarding() -> String {
    let answer = |body: Bytes| async move {
        let status = if body.starts_with(b"bad") { 500 } else { 200 };
        let status = reqwest::StatusCode::from_u16(status).expect("a status");
        (status, [("quorate-send", "amqp_outgoing/invoices")], body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    format!("http://{address}/")
}

#[tokio::test]
async fn upstream_reply_is_sent_and_counted_in_metrics() {
    let bed = Bed::start().await;
    bed.service(&forwarding().await, 5000).await;
    let good = (0..40).map(|n| n.to_string());
    bed.broker
        .publish("orders", good.chain(["bad-1".into(), "bad-2".into()]))
        .await;
    let seen = bed
        .when("orders", "all settled", |it| {
            it["handled"] == 40 && it["failed"] == 2
        })
        .await;
    assert_eq!(bed.broker.count("invoices").await.0, 40);
    assert_eq!(bed.broker.count("orders-dead").await.0, 2);
    bed.when("invoices", "all counted", |it| it["sent"] == 40)
        .await;
    for (outcome, count) in [
        ("received", 42.0),
        ("handled", 40.0),
        ("failed", 2.0),
        ("retried", 4.0),
        ("dead_lettered", 2.0),
    ] {
        assert_eq!(seen[outcome].as_f64(), Some(count), "{outcome} in {seen}");
        let label = format!("outcome=\"{outcome}\"");
        let labels = ["channel=\"orders\"", label.as_str()];
        let told = bed
            .metric("quorate_connector_messages_total", &labels)
            .await;
        assert_eq!(told, count, "{outcome}");
    }
    let labels = ["channel=\"invoices\"", "outcome=\"sent\""];
    assert_eq!(
        bed.metric("quorate_connector_messages_total", &labels)
            .await,
        40.0
    );
    let labels = ["channel=\"orders\""];
    assert_eq!(
        bed.metric("quorate_connector_in_flight", &labels).await,
        0.0
    );
}
