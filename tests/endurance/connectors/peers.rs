//! What stands at the other ends of the connectors: queues of a real RabbitMQ, sockets of
//! libzmq, and a service. Each message has a body of its own and is noted when it arrives.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{options::BasicConsumeOptions, types::FieldTable};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_testkit::{
    ports,
    rabbitmq::{BrokerClient, RabbitBroker},
    traffic::sink::MessageSink,
};

use super::{mix::Connector, queue_manager::QueueManager};

/// The queue that all outgoings of AMQP send to.
const OUT: &str = "scale-out";

/// All of them.
pub struct Peers {
    pub rabbit: RabbitBroker,
    pub sink: MessageSink,
    pub queue_manager: QueueManager,
    broker: BrokerClient,
    sockets: zmq::Context,
    push: Mutex<BTreeMap<String, (u16, zmq::Socket)>>,
    pull: u16,
    arrived: Arc<Mutex<HashMap<String, Instant>>>,
    stop: Arc<AtomicBool>,
}

impl Peers {
    /// Starts them.
    pub async fn start() -> Peers {
        let rabbit = RabbitBroker::start().await;
        let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, Duration::ZERO).await;
        let broker = rabbit.client().await;
        let (arrived, stop) = (Arc::default(), Arc::<AtomicBool>::default());
        let peers = Peers {
            rabbit,
            sink,
            broker,
            sockets: zmq::Context::new(),
            push: Mutex::default(),
            pull: ports::free(),
            queue_manager: QueueManager::start(Arc::clone(&arrived), stop.clone()),
            arrived,
            stop,
        };
        peers.sockets.set_io_threads(1).expect("a thread");
        peers.listen().await;
        peers
    }

    /// Notes what the outgoings send.
    async fn listen(&self) {
        self.broker.declare(OUT).await;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let channel = self.broker.connection().create_channel().await;
        let channel = channel.expect("a channel");
        let consuming =
            channel.basic_consume(OUT.into(), "".into(), options, FieldTable::default());
        let mut consumer = consuming.await.expect("a consumer");
        let arrived = self.arrived.clone();
        tokio::spawn(async move {
            // The channel lives as long as what came by it is read.
            let _channel = channel;
            while let Some(Ok(delivery)) = consumer.next().await {
                note(&arrived, &delivery.data);
            }
        });
        let socket = self.sockets.socket(zmq::PULL).expect("a socket");
        socket.set_rcvtimeo(50).expect("a time");
        socket.set_linger(0).expect("a time");
        socket.bind(&self.pull_address()).expect("a port");
        let (arrived, stop) = (self.arrived.clone(), self.stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Ok(body) = socket.recv_bytes(0) {
                    note(&arrived, &body);
                }
            }
        });
    }

    pub fn out_queue(&self) -> &'static str {
        OUT
    }

    pub fn pull_address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.pull)
    }

    /// Where the socket listens that sends to this channel.
    pub fn push_address(&self, name: &str) -> String {
        let push = self.push.lock();
        format!("tcp://127.0.0.1:{}", push[name].0)
    }

    /// Makes what these connectors consume from.
    pub async fn prepare(&self, connectors: &[Connector]) {
        for connector in connectors {
            match connector.kind {
                "amqp_channel" => self.broker.declare(&connector.name).await,
                "zmq_channel" => self.bind(&connector.name),
                "ibm_mq_channel" => self.queue_manager.define(&connector.queue()),
                _ => {}
            }
        }
    }

    fn bind(&self, name: &str) {
        let mut push = self.push.lock();
        if push.contains_key(name) {
            return;
        }
        let (port, socket) = (ports::free(), self.sockets.socket(zmq::PUSH));
        let socket = socket.expect("a socket");
        socket.set_linger(0).expect("a time");
        let address = format!("tcp://127.0.0.1:{port}");
        socket.bind(&address).expect("a port");
        push.insert(name.to_owned(), (port, socket));
    }

    /// Publishes a message with this body to each of these channels of AMQP.
    pub async fn publish(&self, to: &[(String, String)]) {
        let mut sending = futures_util::stream::iter(to)
            .map(|(name, body)| self.broker.publish(name, [body.clone()]))
            .buffer_unordered(64);
        while sending.next().await.is_some() {}
    }

    /// Sends it to a channel of ZeroMQ, if somebody is connected there.
    pub fn push(&self, name: &str, body: &str) {
        // Without a peer it is sent again later.
        let _ = self.push.lock()[name].1.send(body, zmq::DONTWAIT);
    }

    /// When the message with this body came by an outgoing.
    pub fn came(&self, body: &str) -> Option<Instant> {
        self.arrived.lock().get(body).copied()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Notes that a message with this body has come.
pub fn note(arrived: &Mutex<HashMap<String, Instant>>, body: &[u8]) {
    let body = String::from_utf8_lossy(body).into_owned();
    arrived.lock().entry(body).or_insert_with(Instant::now);
}
