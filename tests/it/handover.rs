//! What is planned is felt by nobody: the connector server is stopped, or told to hand
//! over, while messages flow and requests come through HAProxy. No request fails, no
//! message is lost, and none is handled twice.
//!
//! On several threads, so that the service and the clients go on while a test waits for the
//! end of a process.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_testkit::{
    balancer::BalancerProcess,
    cluster::{SOON, TestCluster},
    durations::median,
    eventually::eventually,
    http,
    process::signal,
    rabbitmq::{BrokerClient, RabbitBroker},
    traffic::{sink::MessageSink, source::MessageSource, verdict},
};
use reqwest::Method;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};

const QUEUE: &str = "orders";
const ROUNDS: usize = 6;
/// The balancer is given this long before HTTP ends. A handover that waited for that would
/// take longer still.
const NOTICE: Duration = Duration::from_millis(1_000);

/// Clients that ask through the balancer all the while, on connections that they keep.
struct Requests {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Requests {
    fn start(url: &str) -> Requests {
        let stop = Arc::<AtomicBool>::default();
        let done = Arc::<AtomicUsize>::default();
        let failed = Arc::<Mutex<Vec<String>>>::default();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10));
        let client = client.build().expect("a client");
        let tasks = (0..6).map(|n| {
            let (stop, done, failed) = (stop.clone(), done.clone(), failed.clone());
            let (client, url) = (client.clone(), url.to_owned());
            // One in two with a body, by a method that HAProxy repeats nowhere.
            let method = [Method::GET, Method::POST][n % 2].clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let request = client.request(method.clone(), &url).body("a body");
                    match request.send().await {
                        Ok(answer) if answer.status() == 200 => {
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(answer) => {
                            let status = answer.status();
                            let text = answer.text().await.unwrap_or_default();
                            failed.lock().push(format!("{method} {status} {text}"));
                        }
                        Err(problem) => failed.lock().push(format!("{method} {problem:?}")),
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Requests {
            stop,
            done,
            failed,
            tasks,
        }
    }

    /// Ends them; gives how many were answered, and what became of the others.
    async fn finish(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a client");
        }
        let failed = self.failed.lock().clone();
        (self.done.load(Ordering::SeqCst), failed)
    }
}

/// A busy cluster.
struct Bed {
    cluster: TestCluster,
    sink: MessageSink,
    source: MessageSource,
    bursts: BTreeSet<String>,
    requests: Requests,
    broker: BrokerClient,
    _balancer: BalancerProcess,
    _rabbit: RabbitBroker,
}

impl Bed {
    /// A message takes `work` and comes every `pause`.
    async fn start(work: Duration, pause: Duration) -> Bed {
        let rabbit = RabbitBroker::start().await;
        let broker = rabbit.client().await;
        broker.declare(QUEUE).await;
        let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, work).await;
        let cluster = TestCluster::three().await;
        let put = async |kind, resource| cluster.put(0, kind, resource).await;
        put("service", json!({"name": "sink", "upstream": sink.url()})).await;
        put("service", json!({"name": "echo-it", "builtin": "echo"})).await;
        let channel = json!({"name": "c", "path": "/echo", "service": "echo-it"});
        put("http_channel", channel).await;
        let connection = json!({
            "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
            "username": "guest", "password": "guest",
        });
        put("amqp_connection", connection).await;
        let channel = json!({
            "name": QUEUE, "connection": "rabbit", "queue": QUEUE, "service": "sink",
        });
        put("amqp_channel", channel).await;
        let balancer = BalancerProcess::start(&cluster).await;
        let requests = Requests::start(&balancer.at("/echo"));
        let source = MessageSource::start(&rabbit, &[QUEUE], pause).await;
        let bed = Bed {
            cluster,
            sink,
            source,
            bursts: BTreeSet::new(),
            requests,
            broker,
            _balancer: balancer,
            _rabbit: rabbit,
        };
        bed.settled().await;
        bed
    }

    /// Waits until all members vote and the channel consumes under the one reign; gives
    /// the connector server and the epoch.
    async fn settled(&self) -> (usize, u64) {
        self.cluster.voters(3).await;
        eventually("a channel that consumes", SOON, || async {
            let leader = self.cluster.leader().await;
            let (server, epoch) = self.cluster.connector_server(leader).await?;
            let row = self.cluster.connector(server, QUEUE).await?;
            let right = row["state"] == "active"
                && row["epoch"] == epoch
                && row["ready_standbys"] == 2
                && server == leader;
            right.then_some((server, epoch)).ok_or(row.to_string())
        })
        .await
    }

    /// Puts so much into the queue that some is left whenever a takeover is over.
    async fn burst(&mut self) {
        let from = self.bursts.len();
        let ids: Vec<_> = (from..from + BURST).map(|n| format!("burst-{n}")).collect();
        self.broker.publish(QUEUE, ids.clone()).await;
        self.bursts.extend(ids);
    }

    /// How long after `begun` the first message was handled under a newer epoch.
    async fn first_after(&self, epoch: u64, from: usize, begun: Instant) -> Duration {
        let deadline = begun + Duration::from_secs(10);
        let first = self.sink.first_after(QUEUE, epoch, from, deadline).await;
        first.expect("a message under a new epoch").0 - begun
    }

    /// Ends the load. Every message was handled once, and every request was answered.
    async fn assert_nobody_felt_it(mut self) {
        let mut published = self.source.finish().await;
        published.append(&mut self.bursts);
        eventually("all handled", SOON, || async {
            let lost = verdict::lost(&published, &self.sink.calls());
            lost.is_empty().then_some(()).ok_or(format!("{lost:?}"))
        })
        .await;
        eventually("an empty queue", SOON, || async {
            match self.broker.count(QUEUE).await.0 {
                0 => Ok(()),
                left => Err(format!("{left} left")),
            }
        })
        .await;
        let calls = self.sink.calls();
        let (answered, failed) = self.requests.finish().await;
        println!(
            "{} messages handled, {answered} requests answered, {} failed",
            calls.len(),
            failed.len()
        );
        assert_eq!(verdict::duplicates(&calls), Default::default());
        assert_eq!(verdict::stale(&calls), []);
        assert!(failed.is_empty(), "{failed:?}");
        assert!(answered > 500, "only {answered} requests");
    }
}

const BURST: usize = 500;
const WORK: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(5);

// guarantee: FAILOVER-2
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_of_connector_server_goes_unnoticed() {
    let mut bed = Bed::start(WORK, PAUSE).await;
    let mut gaps = Vec::new();
    for _ in 0..ROUNDS {
        let (server, epoch) = bed.settled().await;
        bed.burst().await;
        let (from, begun) = (bed.sink.calls_len(), Instant::now());
        bed.cluster.members[server].signal(Signal::SIGTERM);
        gaps.push(bed.first_after(epoch, from, begun).await);
        let member = &mut bed.cluster.members[server];
        assert!(member.wait_exit(Duration::from_secs(10)).success());
        member.start(&[]);
    }
    bed.settled().await;
    println!(
        "SIGTERM to the first message: median {:?}, all {gaps:?}",
        median(&gaps)
    );
    bed.assert_nobody_felt_it().await;
    assert!(median(&gaps) < NOTICE, "{gaps:?}");
}

/// What a service manager does that signals all processes of a service, and what Ctrl-C and a
/// terminal that is closed do.
// guarantee: FAILOVER-2
#[tokio::test(flavor = "multi_thread")]
async fn signals_to_all_connector_server_processes_go_unnoticed() {
    let mut bed = Bed::start(WORK, PAUSE).await;
    for asked in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let (server, epoch) = bed.settled().await;
        bed.burst().await;
        let row = bed.cluster.connector(server, QUEUE).await.expect("a row");
        let connector = row["pid"].as_u64().expect("its process") as u32;
        for ignored in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
            signal(connector, ignored);
            bed.cluster.members[server].signal(ignored);
        }
        assert_eq!(bed.settled().await, (server, epoch));
        let (from, begun) = (bed.sink.calls_len(), Instant::now());
        signal(connector, asked);
        bed.cluster.members[server].signal(asked);
        bed.first_after(epoch, from, begun).await;
        let member = &mut bed.cluster.members[server];
        assert!(member.wait_exit(Duration::from_secs(10)).success());
        let log = std::fs::read_to_string(member.log()).expect("its log");
        for ignored in ["SIGHUP", "SIGUSR1", "SIGUSR2"] {
            assert!(log.contains(&format!("{ignored} is ignored")), "{ignored}");
        }
        member.start(&[]);
    }
    bed.settled().await;
    bed.assert_nobody_felt_it().await;
}

// guarantee: FAILOVER-2
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_of_a_follower_is_felt_by_nobody() {
    let mut bed = Bed::start(WORK, PAUSE).await;
    for _ in 0..2 {
        let (server, epoch) = bed.settled().await;
        let follower = (server + 1) % 3;
        assert!(bed.cluster.members[follower].stop().success());
        bed.cluster.members[follower].start(&[]);
        assert_eq!(
            bed.settled().await,
            (server, epoch),
            "the reign has changed"
        );
    }
    bed.assert_nobody_felt_it().await;
}

// guarantee: FAILOVER-2
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_felt_by_nobody() {
    let mut bed = Bed::start(WORK, PAUSE).await;
    let mut gaps = Vec::new();
    for round in 0..ROUNDS {
        let (server, epoch) = bed.settled().await;
        bed.burst().await;
        let (from, begun) = (bed.sink.calls_len(), Instant::now());
        // Asked of the leader, and of another member.
        let asked = &bed.cluster.members[(server + round % 2) % 3];
        let url = asked.admin_url("/v1/cluster/transfer-leadership");
        let answer = http::call(Method::POST, url, &[], "")
            .await
            .expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
        assert_eq!(status, 200, "{text}");
        gaps.push(bed.first_after(epoch, from, begun).await);
    }
    println!(
        "transfer to the first message: median {:?}, all {gaps:?}",
        median(&gaps)
    );
    let (server, epoch) = bed.settled().await;
    for member in &bed.cluster.members {
        // The member that took over writes it down a moment later.
        eventually("the takeover to be told", SOON, || async {
            let answer = http::get_json(&member.admin_url("/v1/cluster/takeovers")).await?;
            let newest = answer["takeovers"][0].clone();
            (newest["epoch"] == epoch)
                .then_some(newest.clone())
                .ok_or(newest.to_string())?;
            let told = newest["reason"] == "transfer"
                && newest["to"] == bed.cluster.members[server].name.as_str()
                && newest["from"] != newest["to"]
                && newest["activated"] == 1;
            let steps = [
                "detected_ms",
                "elected_ms",
                "committed_ms",
                "first_active_ms",
                "last_active_ms",
            ];
            let steps: Vec<_> = steps
                .iter()
                .filter_map(|step| newest[step].as_f64())
                .collect();
            let right = told && steps.len() == 5 && steps.is_sorted();
            right.then_some(()).ok_or(answer.to_string())
        })
        .await;
    }
    bed.assert_nobody_felt_it().await;
}

/// Asks for a transfer and hangs up once the connectors are being released.
// guarantee: FAILOVER-3
#[tokio::test(flavor = "multi_thread")]
async fn transfer_is_finished_after_client_hangs_up() {
    // Long enough that the release is under way for a while.
    let bed = Bed::start(Duration::from_millis(300), Duration::from_millis(30)).await;
    for round in 0..2 {
        let (server, epoch) = bed.settled().await;
        let from = bed.sink.calls_len();
        // Of the leader, and of a member that passes it on.
        let asked = &bed.cluster.members[(server + round) % 3];
        let mut client = TcpStream::connect((asked.ip, asked.admin))
            .await
            .expect("a connection");
        let request = "POST /v1/cluster/transfer-leadership HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n\r\n";
        client
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        eventually("a release under way", Duration::from_secs(2), || async {
            let row = bed.cluster.connector(server, QUEUE).await;
            let active = row.is_ok_and(|row| row["state"] == "active");
            (!active).then_some(()).ok_or("still active")
        })
        .await;
        drop(client);
        bed.first_after(epoch, from, Instant::now()).await;
        let (now, later) = bed.settled().await;
        assert_ne!(now, server, "round {round}: the leader is still in office");
        assert!(later > epoch);
    }
    bed.assert_nobody_felt_it().await;
}
