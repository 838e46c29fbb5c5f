//! The broker: one for all clusters, with its management API, and a log that tells when
//! it gave up a connection.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use quorate_testkit::{
    http,
    rabbitmq::{BrokerClient, RabbitBroker},
};
use serde_json::Value;

use crate::hosts::Hosts;

/// RabbitMQ and a connection to it.
pub struct Broker {
    pub rabbit: RabbitBroker,
    pub client: Arc<BrokerClient>,
}

impl Broker {
    /// Starts it where all hosts reach it.
    pub async fn start(hosts: &Hosts) -> Broker {
        let rabbit = RabbitBroker::start_managed(hosts.outside()).await;
        let client = Arc::new(rabbit.client().await);
        Broker { rabbit, client }
    }

    /// Whether the management API knows the connection of a connector's process. It learns
    /// of new ones only when statistics are collected, and can't close what it doesn't know.
    pub async fn knows(&self, channel: &str, pid: u64) -> Result<(), String> {
        let url = self.rabbit.management_url();
        let url = url.expect("it has a management face");
        let url = format!("{url}/api/connections?columns=user_provided_name");
        let asked = http::client().get(url).basic_auth("guest", Some("guest"));
        let answer = asked.send().await.map_err(|e| e.to_string())?;
        let shown: Value = answer.json().await.map_err(|e| e.to_string())?;
        let wanted = format!("{channel} {pid}-");
        let list = shown.as_array().cloned().unwrap_or_default();
        let mut names = list
            .iter()
            .filter_map(|it| it["user_provided_name"].as_str());
        match names.any(|name| name.contains(&wanted)) {
            true => Ok(()),
            false => Err(format!("no {wanted:?} in {shown}")),
        }
    }

    /// How long after `since` the broker was done with the first connection that it lost,
    /// from its log; `None` when it lost none.
    pub fn first_release(&self, since: SystemTime) -> Option<Duration> {
        let log = self.rabbit.dir().join("log").join("test@localhost.log");
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let since = since.duration_since(UNIX_EPOCH).ok()?;
        let closed = text
            .lines()
            .filter(|line| line.contains("closing AMQP connection"));
        closed
            .filter_map(time)
            .filter(|at| *at >= since)
            .map(|at| at - since)
            .min()
    }
}

/// The time at the beginning of a line of the log: `2026-01-31 12:00:00.123456+00:00`.
fn time(line: &str) -> Option<Duration> {
    let stamp = line.get(..32)?.replacen(' ', "T", 1);
    let at = humantime::parse_rfc3339(&format!("{}Z", stamp.strip_suffix("+00:00")?)).ok()?;
    at.duration_since(UNIX_EPOCH).ok()
}
