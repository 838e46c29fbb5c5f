//! Where the peers are, and the connections to them.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use quorate_proto::peer::raft_client::RaftClient;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{MAX_MESSAGE, gate::Stamp};
use crate::{Member, MemberId, Timing};

pub(crate) type Client = RaftClient<InterceptedService<Channel, Stamp>>;

/// Says where to dial, given a member and its address. Tests put proxies in between.
pub(crate) type Dial = Arc<dyn Fn(MemberId, &str) -> String + Send + Sync>;

/// A member that can be called. Cheap to clone; connects when first used and again
/// whenever the connection breaks.
#[derive(Clone)]
pub(crate) struct Peer {
    address: String,
    /// For what is small and urgent.
    pub(crate) control: Client,
    /// For snapshots, so that a heartbeat never waits behind one.
    pub(crate) bulk: Client,
}

/// All members that this one has heard of, by id. Calls look the address up each time,
/// because openraft keeps a client for as long as it replicates to a member, and the
/// member may move meanwhile.
pub(crate) struct Peers {
    cluster: String,
    timing: Timing,
    dial: Option<Dial>,
    known: RwLock<BTreeMap<MemberId, Peer>>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.read();
        let addresses = known.iter().map(|(id, peer)| (id, &peer.address));
        f.debug_map().entries(addresses).finish()
    }
}

impl Peers {
    pub(crate) fn new(cluster: &str, timing: Timing, dial: Option<Dial>) -> Self {
        Peers {
            cluster: cluster.to_owned(),
            timing,
            dial,
            known: RwLock::default(),
        }
    }

    /// The peer, if its address is known and makes sense.
    pub(crate) fn get(&self, id: MemberId) -> Option<Peer> {
        self.known.read().get(&id).cloned()
    }

    /// The next member after `id`, around.
    pub(crate) fn after(&self, id: MemberId) -> Option<MemberId> {
        let known = self.known.read();
        let after = known.range(id + 1..).next();
        after.or_else(|| known.first_key_value()).map(|(id, _)| *id)
    }

    /// Takes in where a member is now; a new address means new connections.
    pub(crate) fn learn(&self, id: MemberId, member: &Member) {
        let unchanged = |peer: &Peer| peer.address == member.peer;
        if self.known.read().get(&id).is_some_and(unchanged) {
            return;
        }
        match self.connect(id, member) {
            Ok(peer) => drop(self.known.write().insert(id, peer)),
            Err(why) => {
                tracing::error!(
                    member = id,
                    address = member.peer,
                    "cannot call a peer: {why}"
                );
            }
        }
    }

    /// Forgets whoever is no longer a member.
    pub(crate) fn retain(&self, keep: impl Fn(MemberId) -> bool) {
        self.known.write().retain(|id, _| keep(*id));
    }

    /// Where a member with that address is dialled.
    pub(crate) fn dialled(&self, id: MemberId, address: &str) -> String {
        match &self.dial {
            Some(dial) => dial(id, address),
            None => address.to_owned(),
        }
    }

    fn connect(&self, id: MemberId, member: &Member) -> Result<Peer, String> {
        let stamp = Stamp::new(&self.cluster, id).ok_or("the cluster's id is not ASCII")?;
        let endpoint = self.endpoint(&self.dialled(id, &member.peer))?;
        let client = || {
            let service = InterceptedService::new(endpoint.connect_lazy(), stamp.clone());
            RaftClient::new(service)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE)
        };
        Ok(Peer {
            address: member.peer.clone(),
            control: client(),
            bulk: client(),
        })
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, String> {
        let uri = format!("http://{address}");
        let endpoint = Endpoint::from_shared(uri).map_err(|e| e.to_string())?;
        // A connection whose other end vanished without a word is given up after about two
        // promises, so that what waits on it learns that its fate is not known.
        let (least, most) = (Duration::from_millis(250), Duration::from_secs(5));
        let silence = self.timing.failover.clamp(least, most);
        let connect = self.timing.election_max.clamp(least / 2, most);
        Ok(endpoint
            .tcp_nodelay(true)
            .connect_timeout(connect)
            .http2_keep_alive_interval(silence)
            .keep_alive_timeout(silence)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(MAX_MESSAGE as u32)
            .initial_connection_window_size(4 * MAX_MESSAGE as u32))
    }
}
