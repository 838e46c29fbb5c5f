//! Recorder of the names that brokers give this member's connections, for a later successor.
//!
//! Connections are opened when processes start and when a broker comes back, all at about the same
//! time: changes within [`GATHER`] are written together, and at most once in that time. Only
//! connectors with a `management_url` are recorded, so a cluster without one writes nothing.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_state::{BrokerConnection, CONNECTIONS_MAX, ConnectionsByConnector};
use quorate_types::{Leadership, MemberId, MemberList, backoff::Backoff};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    connector_spec::ConnectorKey, connectors_view::ConnectorsView, reign_driver::CommandProposer,
};

/// Changes within this time are recorded together.
const GATHER: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// Deadline of one write.
const ANSWER: Duration = Duration::from_secs(5);
/// Interval at which the list is compared with the members, to drop those that were removed.
const COMPARE: Duration = Duration::from_secs(10);

/// Broker connections of this member's connectors, as they are to be recorded.
pub(crate) struct LocalBrokerConnections(watch::Sender<ConnectionsByConnector>);

impl LocalBrokerConnections {
    pub(crate) fn new() -> Self {
        LocalBrokerConnections(watch::Sender::new(ConnectionsByConnector::new()))
    }

    /// Returns a watch of them.
    pub(crate) fn watch(&self) -> watch::Receiver<ConnectionsByConnector> {
        self.0.subscribe()
    }

    /// Sets the connection of a connector; `None`: it has none that is to be recorded.
    pub(crate) fn set(&self, key: &ConnectorKey, connection: Option<BrokerConnection>) {
        let key = key.to_string();
        self.0.send_if_modified(|all| match connection {
            Some(it) if all.get(&key) == Some(&it) => false,
            Some(_) if all.len() >= CONNECTIONS_MAX && !all.contains_key(&key) => false,
            Some(it) => {
                all.insert(key, it);
                true
            }
            None => all.remove(&key).is_some(),
        });
    }
}

/// Task that records the broker connections in the replicated state.
pub(crate) struct BrokerConnectionRecorder {
    pub me: MemberId,
    /// Connections that are to be recorded.
    pub connections: watch::Receiver<ConnectionsByConnector>,
    /// Connections that are recorded already.
    pub view: watch::Receiver<Arc<ConnectorsView>>,
    pub leadership: watch::Receiver<Leadership>,
    /// Members of the cluster: the connections of all others are dropped.
    pub members: watch::Receiver<MemberList>,
    pub proposer: Arc<dyn CommandProposer>,
}

impl BrokerConnectionRecorder {
    /// Runs until the view's sender is gone.
    pub(crate) async fn run(mut self) {
        let mut retry = Backoff::new(GATHER, RETRY_LAST);
        loop {
            let Some((member, connections)) = self.due() else {
                retry.reset();
                tokio::select! {
                    changed = self.connections.changed() => match changed {
                        Ok(()) => sleep(GATHER).await,
                        Err(_) => return,
                    },
                    changed = self.view.changed() => if changed.is_err() { return },
                    () = sleep(COMPARE) => {}
                }
                continue;
            };
            let writing = self.proposer.record_broker_connections(
                member,
                connections,
                Instant::now() + ANSWER,
            );
            match timeout(ANSWER, writing).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "the brokers' names were not recorded yet"),
                Err(_) => debug!("the brokers' names were not recorded in time"),
            }
            sleep(retry.step()).await;
        }
    }

    /// Returns the next write that is due: this member's own connections, or, as leader, none for a
    /// member that was removed.
    fn due(&mut self) -> Option<(MemberId, ConnectionsByConnector)> {
        let view = self.view.borrow_and_update().clone();
        let wanted = self.connections.borrow_and_update();
        let recorded = view.brokers.connections_of(self.me);
        if recorded.map_or(!wanted.is_empty(), |it| **it != *wanted) {
            return Some((self.me, wanted.clone()));
        }
        if !self.leadership.borrow().leading {
            return None;
        }
        let members = self.members.borrow();
        let removed = |id: &MemberId| members.iter().all(|member| member.id != *id);
        let removed = view.brokers.members().find(removed)?;
        Some((removed, ConnectionsByConnector::new()))
    }
}
