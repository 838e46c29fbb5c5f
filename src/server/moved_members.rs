//! The search for members that have moved: they are asked for their addresses.
//!
//! Where all have moved at once, none is where the membership says, so no leader can be elected to
//! put it right.

use std::time::Duration;

use quorate_types::backoff::Backoff;
use tokio::time::sleep;
use url::Url;

use crate::{
    admin::{
        member_report::{self, MemberReport},
        peers::AdminPeers,
    },
    cluster::ClusterHandle,
};

const ONE_ANSWER: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Asks the members at these admin URLs for their addresses, until this member hears a leader.
pub(super) async fn find_moved_members(cluster: ClusterHandle, peers: AdminPeers, urls: Vec<Url>) {
    let node = cluster.node();
    let mut pauses = Backoff::new(PAUSE, PAUSE_MAX);
    loop {
        let leadership = *node.leadership().borrow();
        if urls.is_empty() || cluster.is_fresh(leadership.heard_at) {
            return;
        }
        for url in &urls {
            let answer =
                peers.get::<MemberReport>(url.authority(), member_report::PATH, ONE_ANSWER);
            match answer.await {
                Ok(it) if it.cluster == node.cluster() && !it.peer.is_empty() => {
                    node.set_announced_address(it.id, &it.peer);
                }
                Ok(_) => tracing::debug!(%url, "the member there is of no use"),
                Err(error) => tracing::debug!(%url, %error, "nobody tells where it is"),
            }
        }
        sleep(pauses.step()).await;
    }
}
