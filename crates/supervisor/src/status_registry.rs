//! Registry of the connectors' statuses on this member.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use metrics::{counter, gauge};
use parking_lot::Mutex;
use quorate_clock::{Instant, wall_time};
use quorate_proto::connector::Tally;
use tokio::sync::{Notify, watch};

use super::{
    connector_spec::ConnectorKey,
    connector_status::{ConnectorState, ConnectorStatus, MessageCounts},
};

/// Time within which changes are published together.
const GATHER: Duration = Duration::from_millis(20);

/// Statuses of all connectors of this member.
pub(crate) struct StatusRegistry {
    member: String,
    entries: Mutex<BTreeMap<ConnectorKey, ConnectorStatus>>,
    changed: Notify,
    published: watch::Sender<Arc<Vec<ConnectorStatus>>>,
}

impl StatusRegistry {
    /// Creates an empty registry for the member of this name.
    pub(crate) fn new(member: String) -> Self {
        StatusRegistry {
            member,
            entries: Mutex::default(),
            changed: Notify::new(),
            published: watch::Sender::new(Arc::default()),
        }
    }

    /// Returns a watch of the statuses, ordered by kind and name.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Vec<ConnectorStatus>>> {
        self.published.subscribe()
    }

    /// Changes a connector's status; adds one that isn't there.
    pub(crate) fn update(&self, key: &ConnectorKey, change: impl FnOnce(&mut ConnectorStatus)) {
        let mut entries = self.entries.lock();
        let status = entries
            .entry(key.clone())
            .or_insert_with(|| self.blank(key));
        change(status);
        self.changed.notify_one();
    }

    /// Adds a connector that is declared inactive.
    pub(crate) fn paused(&self, key: &ConnectorKey) {
        self.at_rest(
            ConnectorStatus {
                state: ConnectorState::Paused,
                ..self.blank(key)
            },
            key,
        );
    }

    /// Adds a connector that can't run on this member.
    pub(crate) fn unusable(&self, key: &ConnectorKey, why: &str) {
        self.at_rest(
            ConnectorStatus {
                state: ConnectorState::Failed,
                last_error: Some(why.to_owned()),
                ..self.blank(key)
            },
            key,
        );
    }

    /// Shows a connector that has no process.
    fn at_rest(&self, blank: ConnectorStatus, key: &ConnectorKey) {
        let mut entries = self.entries.lock();
        if entries.insert(key.clone(), blank.clone()) != Some(blank) {
            self.changed.notify_one();
        }
    }

    /// Removes the connectors that are not to stay.
    pub(crate) fn retain(&self, stays: impl Fn(&ConnectorKey) -> bool) {
        let mut entries = self.entries.lock();
        let before = entries.len();
        entries.retain(|key, _| stays(key));
        if entries.len() != before {
            self.changed.notify_one();
        }
    }

    /// Counts the messages of a process's tally; `before` is its previous one.
    pub(crate) fn count(&self, key: &ConnectorKey, before: &Tally, now: &Tally) {
        let grown = |outcome, of: fn(&Tally) -> u64| {
            let by = of(now).saturating_sub(of(before));
            if by > 0 {
                counter!(
                    "quorate_connector_messages_total",
                    "kind" => key.kind, "channel" => key.name.clone(), "outcome" => outcome
                )
                .increment(by);
            }
        };
        grown("received", |tally| tally.received);
        grown("handled", |tally| tally.handled);
        grown("failed", |tally| tally.failed);
        grown("retried", |tally| tally.retried);
        grown("dead_lettered", |tally| tally.dead_lettered);
        grown("fenced", |tally| tally.fenced);
        grown("sent", |tally| tally.sent);
        grown("refused", |tally| tally.refused);
        grown("unknown", |tally| tally.unknown);
        let reconnects = now.reconnects.saturating_sub(before.reconnects);
        if reconnects > 0 {
            counter!("quorate_connector_reconnects_total", "kind" => key.kind, "channel" => key.name.clone())
                .increment(reconnects);
        }
        gauge!("quorate_connector_in_flight", "kind" => key.kind, "channel" => key.name.clone())
            .set(now.in_flight as f64);
        let at = Instant::now();
        self.update(key, |status| {
            let (old, counts) = (std::mem::take(&mut status.counts), MessageCounts::from(now));
            let settled = counts.settled() > old.settled();
            if counts.handled + counts.sent > old.handled + old.sent {
                status.settled_at = Some(at);
                status.last_message_at =
                    Some(humantime::format_rfc3339_millis(wall_time()).to_string());
            }
            status.idle_since = match status.idle_since {
                _ if !counts.has_work() => None,
                Some(since) if !settled => Some(since),
                _ => Some(at),
            };
            status.counts = counts;
        });
    }

    /// Notes that a connector's process is gone.
    pub(crate) fn gone(&self, key: &ConnectorKey) {
        gauge!("quorate_connector_in_flight", "kind" => key.kind, "channel" => key.name.clone())
            .set(0.0);
        self.update(key, |status| {
            status.pid = None;
            status.idle_since = None;
            (status.counts.in_flight, status.counts.waiting) = (0, None);
            status.epoch = None;
            status.activated_at = None;
        });
    }

    /// Publishes the changes, several at a time.
    pub(crate) async fn publish_changes(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            let statuses: Vec<_> = self.entries.lock().values().cloned().collect();
            show(&statuses);
            self.published.send_replace(Arc::new(statuses));
            tokio::time::sleep(GATHER).await;
        }
    }

    fn blank(&self, key: &ConnectorKey) -> ConnectorStatus {
        ConnectorStatus::starting(key.kind, &key.name, &self.member)
    }
}

/// Shows in the metrics how many connectors of this member are in each state.
fn show(statuses: &[ConnectorStatus]) {
    for (state, name) in [
        (ConnectorState::Active, "active"),
        (ConnectorState::Standby, "standby"),
        (ConnectorState::Paused, "paused"),
        (ConnectorState::Starting, "starting"),
        (ConnectorState::Failed, "failed"),
    ] {
        let count = statuses.iter().filter(|it| it.state == state).count();
        gauge!("quorate_connectors", "state" => name).set(count as f64);
    }
}

/// Counts a process that ended by itself.
pub(crate) fn restarted(key: &ConnectorKey) {
    counter!(
        "quorate_connector_restarts_total",
        "kind" => key.kind, "channel" => key.name.clone()
    )
    .increment(1);
}
