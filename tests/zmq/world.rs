//! What the tests with ZeroMQ add to the simulated group.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;
pub use quorate_simulated_group::*;
use quorate_supervisor::ConnectorState;
use quorate_testkit::ports;
pub use quorate_testkit::process::signal;
use serde_json::{Value, json};

/// An address that nobody has bound.
pub fn free_address() -> String {
    format!("tcp://127.0.0.1:{}", ports::free())
}

pub fn channel(name: &str, socket: &str, method: &str, address: &str) -> Value {
    json!({"name": name, "service": "store", "address": address, "socket_type": socket, "method": method})
}

pub fn outgoing(name: &str, socket: &str, method: &str, address: &str) -> Value {
    json!({"name": name, "address": address, "socket_type": socket, "method": method})
}

/// A member that leads in term 2 and runs this.
pub async fn running(kind: Kind, resource: Value) -> SimulatedMember {
    let group = SimulatedGroup::with_services();
    let name = resource["name"].as_str().unwrap().to_owned();
    group.put(kind, resource);
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&name).await;
    member
}

/// Two members with the same channel; the first runs it in term 2, the second stands by.
pub async fn two(resource: Value, failover_ms: u64) -> (SimulatedMember, SimulatedMember) {
    let group: Arc<SimulatedGroup> = SimulatedGroup::with_services();
    let name = resource["name"].as_str().unwrap().to_owned();
    group.put(Kind::ZmqChannel, resource);
    let first = SimulatedMember::start(&group, 1, failover_ms);
    let second = SimulatedMember::start(&group, 2, failover_ms);
    first.lead(2);
    first.active(&name).await;
    second
        .when(&name, "standby", |it| it.state == ConnectorState::Standby)
        .await;
    (first, second)
}

/// Sends one message by an outgoing.
pub async fn send(
    member: &SimulatedMember,
    name: &str,
    id: &str,
    body: &str,
    within: Duration,
) -> SendOutcome {
    let message = Send {
        message_id: id.into(),
        body: body.to_owned().into(),
        ..Send::default()
    };
    let deadline = Instant::now() + within;
    let sent = member
        .handle
        .send("zmq_outgoing", name, message, deadline)
        .await;
    sent.expect("this member runs the outgoing")
}

/// How many of the bodies `0` to `n - 1` were not handled, and how many calls there were
/// beyond one for each.
pub fn lost_and_repeated(group: &SimulatedGroup, n: usize) -> (usize, usize) {
    let calls = group.calls_by_body();
    let lost = bodies(n).filter(|body| !calls.contains_key(body)).count();
    let all: usize = calls.values().sum();
    (lost, all - calls.len())
}
