//! Records what the brokers call the connections of this member's connectors, so that a
//! successor knows it in advance.
//!
//! Connections are opened when processes start and when a broker comes back, all at about
//! the same time: what changes within [`GATHER`] is written together, and at most once in
//! that time. Only connectors with a `management_url` are recorded, so a cluster without
//! one writes nothing.

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
/// How long a write may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the list is compared with the members, for those that were removed.
const COMPARE: Duration = Duration::from_secs(10);

/// What is to be recorded.
pub struct LocalBrokerConnections(watch::Sender<ConnectionsByConnector>);

impl LocalBrokerConnections {
    /// None so far.
    pub fn new() -> Self {
        LocalBrokerConnections(watch::Sender::new(ConnectionsByConnector::new()))
    }

    /// Follows them.
    pub fn watch(&self) -> watch::Receiver<ConnectionsByConnector> {
        self.0.subscribe()
    }

    /// The connector has this connection now, or none that is to be recorded.
    pub fn set(&self, key: &ConnectorKey, connection: Option<BrokerConnection>) {
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

/// What the recording is built on.
pub struct BrokerConnectionRecorder {
    /// This member.
    pub me: MemberId,
    /// What is to be recorded.
    pub connections: watch::Receiver<ConnectionsByConnector>,
    /// What is recorded.
    pub view: watch::Receiver<Arc<ConnectorsView>>,
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// Who belongs.
    pub members: watch::Receiver<MemberList>,
    /// Writes.
    pub proposer: Arc<dyn CommandProposer>,
}

impl BrokerConnectionRecorder {
    /// Runs until the state is no longer told.
    pub async fn run(mut self) {
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

    /// What is to be written now: this member's own, and, as leader, that a member that was
    /// removed has none.
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
