//! The announcement of a member: its program's services, and the failover promise in its settings.

use std::time::Duration;

use quorate_state::{Answer, Command};
use quorate_types::backoff::Backoff;
use tokio::time::sleep;

use crate::cluster::ClusterHandle;

const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Proposes the announcement until it is applied. Announcing twice changes nothing, so it is
/// proposed again after an unknown outcome.
pub(super) async fn announce(
    cluster: ClusterHandle,
    services: Vec<String>,
    failover_ms: Option<u64>,
) {
    let member = cluster.node().id();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mut pauses = Backoff::new(PAUSE, PAUSE_MAX);
    loop {
        let state = cluster.state();
        let announced = state.announced_programs().get(&member);
        if announced.is_some_and(|announced| {
            announced.services == services
                && announced.version == version
                && announced.failover_ms == failover_ms
        }) {
            return;
        }
        let command = Command::AnnounceProgram {
            member,
            services: services.clone(),
            version: version.clone(),
            failover_ms,
        };
        match cluster.propose(command, cluster.write_deadline()).await {
            Ok((_, Answer::Done { .. })) => return,
            Ok((index, answer)) => {
                tracing::error!(
                    index,
                    ?answer,
                    "the announcement of this member's services was refused"
                );
                return;
            }
            Err(error) => tracing::debug!(%error, "the services are not announced yet"),
        }
        sleep(pauses.step()).await;
    }
}
