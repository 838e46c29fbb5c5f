//! Handing over by a leader that can't open the cluster's secrets.
//!
//! The leader runs the connectors, and one without the cluster's key can run none that needs a
//! password. So it gives leadership to a voter that has the key, as long as there is one that is
//! heard; elections themselves know nothing of keys.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_supervisor::SupervisorHandle;
use quorate_types::{MemberId, Role};
use tokio::time::sleep;

use crate::cluster::ClusterHandle;

/// The time after which a leader that is sealed looks again for a member to hand over to.
const AGAIN: Duration = Duration::from_secs(5);
/// The time for which it has to be sealed: a newcomer is given the key within moments.
const SURE: Duration = Duration::from_secs(1);

/// The task of a member that may lead without a key.
pub(super) struct SealedLeader {
    pub cluster: ClusterHandle,
    pub connectors: SupervisorHandle,
    /// The time that connectors have to finish messages in flight.
    pub drain: Duration,
}

impl SealedLeader {
    /// Runs for as long as the member does.
    pub(super) async fn hand_over(self) {
        let mut leadership = self.cluster.node().leadership();
        loop {
            if leadership.wait_for(|now| now.leading).await.is_err() {
                return;
            }
            if self.successor().is_some() {
                sleep(SURE).await;
                if let Some(to) = self.successor() {
                    self.transfer(to).await;
                }
            }
            sleep(AGAIN).await;
        }
    }

    async fn transfer(&self, to: MemberId) {
        let node = self.cluster.node();
        if !node.leadership().borrow().leading {
            return;
        }
        tracing::warn!(
            to,
            "this member leads and can't open the cluster's secrets: leadership goes to one that can"
        );
        let _parted = self.connectors.release(self.drain).await;
        let deadline = Instant::now() + self.cluster.timing().failover * 2 + SURE;
        if let Err(error) = node.transfer(Some(to), deadline).await {
            tracing::warn!(%error, "leadership was not handed over");
        }
    }

    /// Returns the voter to hand over to: none where this member has the key itself.
    fn successor(&self) -> Option<MemberId> {
        let state = self.cluster.state();
        let keyring = state.keyring();
        let newest = keyring.version(keyring.newest())?;
        self.cluster.vault().missing_key(keyring)?;
        let me = self.cluster.node().id();
        let holds = |id: &MemberId| {
            let is_own = keyring
                .members()
                .get(id)
                .is_some_and(|it| it.pending.is_none());
            is_own && newest.boxes.contains_key(id)
        };
        let members = self.cluster.node().members();
        let voters = members.iter().filter(|it| {
            it.role == Role::Voter && it.id != me && it.reachable != Some(false) && holds(&it.id)
        });
        let best = voters.min_by_key(|it| it.lag.unwrap_or(u64::MAX));
        best.map(|it| it.id)
    }
}
