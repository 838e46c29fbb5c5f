//! Which connectors: so many of each kind, taking turns.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{peers::Peers, queue_manager};

/// The kinds, and how many of a round of connectors are of each.
const MIX: [(&str, usize); 6] = [
    ("amqp_channel", 3),
    ("amqp_outgoing", 2),
    ("zmq_channel", 2),
    ("zmq_outgoing", 1),
    ("ibm_mq_channel", 1),
    ("ibm_mq_outgoing", 1),
];

/// A connector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connector {
    pub kind: &'static str,
    pub name: String,
}

impl Connector {
    /// Whether it sends.
    pub fn is_outgoing(&self) -> bool {
        self.kind.ends_with("_outgoing")
    }

    /// Its queue, where it is IBM MQ's: names there have no hyphen.
    pub fn queue(&self) -> String {
        self.name.replace('-', ".")
    }

    /// What is to be applied for it.
    pub fn document(&self, peers: &Peers) -> Value {
        let name = &self.name;
        match self.kind {
            "amqp_channel" => json!({
                "kind": self.kind, "name": name, "connection": "rabbit", "queue": name, "service": "sink",
            }),
            "amqp_outgoing" => json!({
                "kind": self.kind, "name": name, "connection": "rabbit", "exchange": "", "routing_key": peers.out_queue(),
            }),
            "zmq_channel" => json!({
                "kind": self.kind, "name": name, "socket_type": "PULL", "method": "connect",
                "address": peers.push_address(name), "service": "sink",
            }),
            "zmq_outgoing" => json!({
                "kind": self.kind, "name": name, "socket_type": "PUSH", "method": "connect",
                "address": peers.pull_address(),
            }),
            "ibm_mq_channel" => json!({
                "kind": self.kind, "name": name, "connection": "manager", "queue": self.queue(), "service": "sink",
            }),
            "ibm_mq_outgoing" => json!({
                "kind": self.kind, "name": name, "connection": "manager", "queue": queue_manager::OUT,
                "jms": false,
            }),
            other => unreachable!("{other} is not in the mix"),
        }
    }
}

/// The kinds that can be asked for.
pub fn kinds() -> Vec<&'static str> {
    MIX.iter().map(|(kind, _)| *kind).collect()
}

/// `count` connectors of these kinds.
pub fn connectors(count: usize, kinds: &[String]) -> Vec<Connector> {
    let wanted = |kind: &str| kinds.iter().any(|it| it == kind);
    let shares = MIX.iter().filter(|(kind, _)| wanted(kind));
    let round: Vec<_> = shares
        .flat_map(|(kind, share)| std::iter::repeat_n(*kind, *share))
        .collect();
    let turns = round.iter().cycle().take(count).enumerate();
    turns
        .map(|(n, kind)| Connector {
            kind,
            name: format!("scale-{n:04}"),
        })
        .collect()
}

/// How many are of each kind.
pub fn by_kind(connectors: &[Connector]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for connector in connectors {
        *counts.entry(connector.kind).or_default() += 1;
    }
    counts
}
