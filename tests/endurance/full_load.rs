//! The load of `make calm`: writers of keys, requests through HAProxy, messages of RabbitMQ.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use quorate_clock::Instant;
use quorate_testkit::{
    balancer::BalancerProcess,
    cluster::TestCluster,
    rabbitmq::RabbitBroker,
    traffic::{sink::MessageSink, source::MessageSource, verdict},
};
use serde_json::json;

use super::load::Load;

/// The queues, and the channels of their names.
pub const CHANNELS: [&str; 4] = ["orders", "invoices", "parcels", "returns"];
/// The bytes of a value, unless others are asked for.
pub const VALUE: usize = 100;

/// How much of it.
#[derive(Args, Clone, Debug)]
pub struct Volume {
    /// Clients that write keys, each at one member.
    #[arg(long, default_value_t = 8)]
    pub writers: u64,
    /// The bytes of a value.
    #[arg(long, default_value_t = VALUE)]
    pub value_bytes: usize,
    /// The keys of each writer, written over and over.
    #[arg(long, default_value_t = 500)]
    pub keys: u64,
    /// Clients that call a service through HAProxy.
    #[arg(long, default_value_t = 8)]
    pub readers: u64,
    /// The most messages published each second, over all channels; a queue's next one waits
    /// for the broker's confirm of the last.
    #[arg(long, default_value_t = 200)]
    pub messages: u64,
    /// Threads beside it that only take the processor's time.
    #[arg(long, default_value_t = 0)]
    pub busy: usize,
}

/// What the load needs, ready for it.
pub struct FullLoad {
    rabbit: RabbitBroker,
    balancer: BalancerProcess,
    pub sink: MessageSink,
}

/// The load, until it is finished.
pub struct Loaded {
    pub writes: Load,
    pub requests: Load,
    source: MessageSource,
    /// Ends the threads that take the processor's time.
    busy: Arc<AtomicBool>,
}

impl FullLoad {
    /// Starts the broker, a service and HAProxy, and declares what is called; the channels
    /// consume when this returns.
    pub async fn prepare(cluster: &TestCluster) -> FullLoad {
        let rabbit = RabbitBroker::start().await;
        let broker = rabbit.client().await;
        for queue in CHANNELS {
            broker.declare(queue).await;
        }
        let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, Duration::ZERO).await;
        declare(cluster, &rabbit, &sink).await;
        let balancer = BalancerProcess::start(cluster).await;
        FullLoad {
            rabbit,
            balancer,
            sink,
        }
    }

    /// Lets it begin.
    pub async fn begin(&self, cluster: &TestCluster, volume: &Volume) -> Loaded {
        let admins: Vec<_> = cluster
            .members
            .iter()
            .map(|m| m.admin_url("/v1/kv/"))
            .collect();
        let (keys, value) = (volume.keys, Bytes::from(vec![b'x'; volume.value_bytes]));
        let writes = Load::start(volume.writers, move |client, c, n| {
            let at = &admins[c as usize % admins.len()];
            let request = client.put(format!("{at}calm-{c}-{}", n % keys));
            let request = request.body(value.clone());
            async move { Ok(request.send().await?.status()) }
        });
        let url = self.balancer.at("/echo");
        let requests = Load::start(volume.readers, move |client, _, _| {
            let request = client.get(&url);
            async move {
                let answer = request.send().await?;
                let status = answer.status();
                answer.bytes().await.map(|_| status)
            }
        });
        let pause = Duration::from_secs_f64(CHANNELS.len() as f64 / volume.messages as f64);
        let source = MessageSource::start(&self.rabbit, &CHANNELS, pause).await;
        Loaded {
            writes,
            requests,
            source,
            busy: busy(volume.busy),
        }
    }

    /// Those of the published messages that the service was not called for, a minute later at
    /// the most.
    pub async fn lost(&self, published: &BTreeSet<String>) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let lost = verdict::lost(published, &self.sink.calls());
            if lost.is_empty() || Instant::now() > deadline {
                return lost;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Loaded {
    /// Ends it; gives the messages that were published.
    pub async fn finish(&mut self) -> BTreeSet<String> {
        self.busy.store(false, Ordering::Relaxed);
        self.writes.finish().await;
        self.requests.finish().await;
        self.source.finish().await
    }
}

/// Threads that take the processor's time for as long as it says so.
fn busy(threads: usize) -> Arc<AtomicBool> {
    let goes_on = Arc::new(AtomicBool::new(true));
    for _ in 0..threads {
        let goes_on = goes_on.clone();
        thread::spawn(move || while goes_on.load(Ordering::Relaxed) {});
    }
    goes_on
}

async fn declare(cluster: &TestCluster, rabbit: &RabbitBroker, sink: &MessageSink) {
    let echo = json!({"name": "echo-it", "builtin": "echo"});
    cluster.put(0, "service", echo).await;
    let path = json!({"name": "echo", "path": "/echo", "service": "echo-it"});
    cluster.put(0, "http_channel", path).await;
    let service = json!({"name": "sink", "upstream": sink.url()});
    cluster.put(0, "service", service).await;
    let connection = json!({
        "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
        "username": "guest", "password": "guest",
    });
    cluster.put(0, "amqp_connection", connection).await;
    for name in CHANNELS {
        let channel =
            json!({"name": name, "connection": "rabbit", "queue": name, "service": "sink"});
        cluster.put(0, "amqp_channel", channel).await;
        cluster.connector_in(0, name, "active").await;
    }
}
