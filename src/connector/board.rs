//! What is told of each connector.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use metrics::{counter, gauge};
use parking_lot::Mutex;
use quorate_proto::connector::Tally;
use tokio::sync::{Notify, watch};

use super::{
    status::{ConnectorState, ConnectorStatus},
    view::Key,
};

/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(20);

/// The statuses of all connectors of this member.
pub struct Board {
    member: String,
    entries: Mutex<BTreeMap<Key, ConnectorStatus>>,
    changed: Notify,
    told: watch::Sender<Arc<Vec<ConnectorStatus>>>,
}

impl Board {
    /// An empty board of the member of this name.
    pub fn new(member: String) -> Self {
        Board {
            member,
            entries: Mutex::default(),
            changed: Notify::new(),
            told: watch::Sender::new(Arc::default()),
        }
    }

    /// Follows the statuses, ordered by kind and name.
    pub fn watch(&self) -> watch::Receiver<Arc<Vec<ConnectorStatus>>> {
        self.told.subscribe()
    }

    /// Changes a connector's status; puts it on the board if it isn't there.
    pub fn update(&self, key: &Key, change: impl FnOnce(&mut ConnectorStatus)) {
        let mut entries = self.entries.lock();
        let status = entries
            .entry(key.clone())
            .or_insert_with(|| self.blank(key));
        change(status);
        self.changed.notify_one();
    }

    /// Puts a connector on the board that is declared inactive.
    pub fn paused(&self, key: &Key) {
        let mut entries = self.entries.lock();
        let blank = ConnectorStatus {
            state: ConnectorState::Paused,
            ..self.blank(key)
        };
        if entries.insert(key.clone(), blank.clone()) != Some(blank) {
            self.changed.notify_one();
        }
    }

    /// Takes off the connectors that are not to stay.
    pub fn retain(&self, stays: impl Fn(&Key) -> bool) {
        let mut entries = self.entries.lock();
        let before = entries.len();
        entries.retain(|key, _| stays(key));
        if entries.len() != before {
            self.changed.notify_one();
        }
    }

    /// Takes in a process's tally: `before` is its previous one.
    pub fn count(&self, key: &Key, before: &Tally, now: &Tally) {
        let grown = |outcome, of: fn(&Tally) -> u64| {
            let by = of(now).saturating_sub(of(before));
            if by > 0 {
                count(key, outcome, by);
            }
            by
        };
        let handled = grown("handled", |tally| tally.handled);
        grown("failed", |tally| tally.failed);
        grown("retried", |tally| tally.retried);
        grown("dead_lettered", |tally| tally.dead_lettered);
        grown("fenced", |tally| tally.fenced);
        gauge!("quorate_connector_in_flight", "kind" => key.kind, "channel" => key.name.clone())
            .set(now.in_flight as f64);
        self.update(key, |status| {
            status.handled = now.handled;
            status.failed = now.failed;
            status.retried = now.retried;
            status.in_flight = now.in_flight;
            if handled > 0 {
                status.last_message_at =
                    Some(humantime::format_rfc3339_millis(SystemTime::now()).to_string());
            }
        });
    }

    /// A connector's process is gone.
    pub fn gone(&self, key: &Key) {
        gauge!("quorate_connector_in_flight", "kind" => key.kind, "channel" => key.name.clone())
            .set(0.0);
        self.update(key, |status| {
            status.pid = None;
            status.in_flight = 0;
            status.epoch = None;
            status.activated_at = None;
        });
    }

    /// Tells the changes, several at a time.
    pub async fn tell(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            let statuses: Vec<_> = self.entries.lock().values().cloned().collect();
            show(&statuses);
            self.told.send_replace(Arc::new(statuses));
            tokio::time::sleep(GATHER).await;
        }
    }

    fn blank(&self, key: &Key) -> ConnectorStatus {
        ConnectorStatus {
            kind: key.kind.to_owned(),
            name: key.name.clone(),
            state: ConnectorState::Starting,
            member: self.member.clone(),
            epoch: None,
            activated_at: None,
            pid: None,
            handled: 0,
            failed: 0,
            retried: 0,
            in_flight: 0,
            last_message_at: None,
            last_error: None,
        }
    }
}

/// How many connectors of this member are in each state.
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

/// Counts messages of a connector.
pub fn count(key: &Key, outcome: &'static str, by: u64) {
    counter!(
        "quorate_connector_messages_total",
        "kind" => key.kind, "channel" => key.name.clone(), "outcome" => outcome
    )
    .increment(by);
}

/// Counts a process that ended without being told to.
pub fn restarted(key: &Key) {
    counter!(
        "quorate_connector_restarts_total",
        "kind" => key.kind, "channel" => key.name.clone()
    )
    .increment(1);
}
