//! A connection to each other member, as the membership changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_proto::peer;
use quorate_types::MemberId;
use tokio::{time::timeout, try_join};
use tokio_util::task::AbortOnDropHandle;

use super::{KnownPeer, PeerLiveness, peer_probe};
use crate::node::NodeInner;

/// For a call that only opens a connection.
const CALL_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps the connections until it is dropped.
pub(crate) async fn probe_all_peers(node: Arc<NodeInner>) {
    let mut members = node.members.subscribe();
    let mut lines: BTreeMap<MemberId, (String, AbortOnDropHandle<()>)> = BTreeMap::new();
    loop {
        let wanted: BTreeMap<MemberId, String> = {
            let members = members.borrow_and_update();
            let others = members.iter().filter(|m| m.id != node.id);
            // Where it is called, and nowhere else: at the address that a member has left
            // another one may die, which must not be taken for the death of this one.
            let address = |id| node.peers.address(id);
            others
                .map(|m| (m.id, address(m.id).unwrap_or_else(|| m.member.peer.clone())))
                .collect()
        };
        lines.retain(|id, (address, _)| wanted.get(id) == Some(address));
        node.liveness.known.send_modify(|known| {
            known.retain(|id, known| wanted.get(id) == Some(&known.address));
            for (id, address) in &wanted {
                known.entry(*id).or_insert_with(|| KnownPeer {
                    address: address.clone(),
                    sign: PeerLiveness::Unknown,
                });
            }
        });
        for (id, address) in wanted {
            lines.entry(id).or_insert_with(|| {
                let line = tokio::spawn(hold(node.clone(), id, address.clone()));
                (address, AbortOnDropHandle::new(line))
            });
        }
        if members.changed().await.is_err() {
            return;
        }
    }
}

async fn hold(node: Arc<NodeInner>, id: MemberId, address: String) {
    let dialled = node.peers.dialled(id, &address);
    peer_probe::probe_peer(&dialled, |sign| {
        tracing::debug!(member = id, ?sign, "liveness");
        node.liveness.note(id, &address, sign);
        if sign == PeerLiveness::Alive {
            // The first calls to a member open the connections that votes go through, and the
            // first entry after them.
            tokio::spawn(warm(node.clone(), id));
        }
    })
    .await;
}

async fn warm(node: Arc<NodeInner>, id: MemberId) {
    let Some(mut peer) = node.peers.get(id) else {
        return;
    };
    let began = Instant::now();
    let request = peer::AppliedRequest {
        index: 0,
        wait_ms: 0,
    };
    let both = async { try_join!(peer.urgent.applied(request), peer.control.applied(request)) };
    match timeout(CALL_PATIENCE, both).await {
        Ok(Ok(_)) => tracing::debug!(member = id, took = ?began.elapsed(), "can be called"),
        Ok(Err(why)) => tracing::debug!(member = id, "can't be called: {}", why.message()),
        Err(_) => tracing::debug!(member = id, "does not answer"),
    }
}
