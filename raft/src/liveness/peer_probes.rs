//! Probes of all other members, as the membership changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_proto::peer;
use quorate_types::{MemberId, MemberList};
use tokio::{sync::watch, time::timeout, try_join};
use tokio_util::task::AbortOnDropHandle;

use super::{LivenessTable, peer_probe, rules::PeerLiveness};
use crate::network::PeerDirectory;

/// Time for a call that only opens a connection.
const CALL_PATIENCE: Duration = Duration::from_secs(2);

/// Keeper of the connections that show which members' processes live.
pub(crate) struct PeerProber {
    pub(crate) me: MemberId,
    pub(crate) members: watch::Receiver<MemberList>,
    pub(crate) peers: Arc<PeerDirectory>,
    pub(crate) liveness: Arc<LivenessTable>,
}

/// Keeps the connections until it is dropped.
pub(crate) async fn probe_all_peers(prober: PeerProber) {
    let prober = Arc::new(prober);
    let mut members = prober.members.clone();
    let mut probes: BTreeMap<MemberId, (String, AbortOnDropHandle<()>)> = BTreeMap::new();
    loop {
        let wanted: BTreeMap<MemberId, String> = {
            let members = members.borrow_and_update();
            let others = members.iter().filter(|m| m.id != prober.me);
            // Where it is called, and nowhere else: at the address that a member has left
            // another one may die, which must not be taken for the death of this one.
            let address = |id| prober.peers.address(id);
            others
                .map(|m| (m.id, address(m.id).unwrap_or_else(|| m.member.peer.clone())))
                .collect()
        };
        probes.retain(|id, (address, _)| wanted.get(id) == Some(address));
        prober.liveness.retain(&wanted);
        for (id, address) in wanted {
            probes.entry(id).or_insert_with(|| {
                let probe = tokio::spawn(hold(prober.clone(), id, address.clone()));
                (address, AbortOnDropHandle::new(probe))
            });
        }
        if members.changed().await.is_err() {
            return;
        }
    }
}

async fn hold(prober: Arc<PeerProber>, id: MemberId, address: String) {
    let dialled = prober.peers.dialled(id, &address);
    let tls = || prober.peers.tls(id);
    peer_probe::probe_peer(&dialled, tls, |sign| {
        tracing::debug!(member = id, ?sign, "liveness");
        prober.liveness.note(id, &address, sign);
        if sign == PeerLiveness::Alive {
            // The first calls to a member open the connections that votes go through, and the
            // first entry after them.
            tokio::spawn(open_connections(prober.clone(), id));
        }
    })
    .await;
}

async fn open_connections(prober: Arc<PeerProber>, id: MemberId) {
    let Some(mut peer) = prober.peers.get(id) else {
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
