//! Looks whether the other members have made the same promise. A lease is safe because
//! every voter stands by its leader for as long as the leader counts on; members that are
//! set up differently don't. A newcomer is refused for it; a member that was restarted
//! with other settings can only be told.

use std::{collections::BTreeSet, time::Duration};

use quorate_raft::{MemberId, MemberStatus, Members};
use serde::Deserialize;
use tokio::{sync::watch, time::sleep};

use crate::admin::peers::Peers;

const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
const ONE_ANSWER: Duration = Duration::from_secs(2);

/// Asks each member once, for as long as it takes to hear from it.
pub(super) async fn compare(
    me: MemberId,
    failover_ms: u64,
    mut members: watch::Receiver<Members>,
    peers: Peers,
) {
    let mut heard = BTreeSet::from([me]);
    let mut pause = PAUSE;
    loop {
        let open: Vec<MemberStatus> = members
            .borrow_and_update()
            .iter()
            .filter(|member| !heard.contains(&member.id))
            .cloned()
            .collect();
        if open.is_empty() {
            if members.changed().await.is_err() {
                return;
            }
            pause = PAUSE;
            continue;
        }
        for other in open {
            let Some(theirs) = promise(&peers, &other.member.admin).await else {
                continue;
            };
            heard.insert(other.id);
            if theirs != failover_ms {
                tracing::error!(
                    member = other.member.name,
                    theirs,
                    ours = failover_ms,
                    "failover_ms differs: takeovers are not safe until it is the same on every member"
                );
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn promise(peers: &Peers, admin: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Status {
        failover_ms: u64,
    }
    let status = peers
        .get::<Status>(admin, "/v1/cluster/status", ONE_ANSWER)
        .await;
    status.ok().map(|status| status.failover_ms)
}
