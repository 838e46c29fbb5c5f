//! Tests of the links against sockets of libzmq in the same process.

mod channels;
mod connections;
mod names;
mod outgoings;

use std::time::Duration;

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Reply};
use serde_json::{Value, json};
use tokio::time::timeout;
use zmq::SocketType;

use super::{
    super::broker_link::{
        BrokerLink, ConnectorError, ConsumerSession, DeadLetterInfo, InboundLink, IncomingMessage,
        MessageAcknowledger, MessageProducer, OutboundLink, OutgoingMessage,
    },
    ZmqLink,
    consumer::ZmqConsumer,
    frames::BYTES_MAX,
    producer::ZmqProducer,
    receive_loop::ZmqDeliveryToken,
};

const WAIT: Duration = Duration::from_secs(20);

/// Returns a peer, and the address that it has bound.
fn peer(kind: SocketType) -> (zmq::Socket, String) {
    let socket = unbound(kind);
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let address = socket.get_last_endpoint().unwrap().unwrap();
    (socket, address)
}

/// Returns a peer that gives up after a while.
fn unbound(kind: SocketType) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(WAIT.as_millis() as i32).unwrap();
    socket.set_sndtimeo(WAIT.as_millis() as i32).unwrap();
    socket
}

/// Returns an address that nobody has bound.
fn free_address() -> String {
    let (socket, address) = peer(SocketType::PULL);
    drop(socket);
    address
}

async fn link() -> ZmqLink {
    ZmqLink::connect(&(), "test").await.unwrap()
}

fn resource(kind: &str, address: &str, method: &str) -> Value {
    json!({"name": "x", "address": address, "socket_type": kind, "method": method})
}

async fn try_inlet(mut resource: Value, prefetch: u16) -> Result<ZmqConsumer, ConnectorError> {
    resource["service"] = json!("y");
    let source = serde_json::from_value(resource).unwrap();
    InboundLink::open(&link().await, &source, prefetch, Some(1), None).await
}

async fn open_consumer(resource: Value, prefetch: u16) -> ZmqConsumer {
    try_inlet(resource, prefetch).await.unwrap()
}

async fn open_producer(kind: &str, address: &str, method: &str) -> (ZmqLink, ZmqProducer) {
    let link = link().await;
    let target = serde_json::from_value(resource(kind, address, method)).unwrap();
    let sender = OutboundLink::open(&link, &target).await.unwrap();
    (link, sender)
}

async fn next(session: &mut ZmqConsumer) -> (ZmqDeliveryToken, IncomingMessage) {
    timeout(WAIT, session.next()).await.unwrap().unwrap()
}

fn property<'a>(message: &'a IncomingMessage, name: &str) -> Option<&'a [u8]> {
    let found = message.properties.iter().find(|it| it.name == name);
    found.map(|it| &it.value[..])
}

fn reply(body: &'static str) -> Reply {
    Reply {
        content_type: String::new(),
        body: body.into(),
    }
}

fn info() -> DeadLetterInfo {
    DeadLetterInfo {
        reason: "it broke".into(),
        attempts: 3,
        cid: "K1".into(),
        channel: "x".into(),
    }
}

fn message(id: &str, body: impl Into<Bytes>, within: Duration) -> OutgoingMessage {
    OutgoingMessage {
        message_id: id.into(),
        body: body.into(),
        within,
        ..OutgoingMessage::default()
    }
}

fn with(mut message: OutgoingMessage, name: &str, value: &'static str) -> OutgoingMessage {
    message.properties.push(Header {
        name: name.into(),
        value: value.into(),
    });
    message
}

/// Runs a peer's part beside the link's.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn texts(frames: &[Vec<u8>]) -> Vec<String> {
    let text = |frame: &Vec<u8>| String::from_utf8_lossy(frame).into_owned();
    frames.iter().map(text).collect()
}
