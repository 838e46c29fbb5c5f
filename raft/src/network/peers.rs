//! Directory of the peers: their addresses, and three connections to each.
//!
//! Calls that share a connection share its windows and the socket's buffer, and wait behind
//! what was written before them: megabytes of log, where a link is slow. A heartbeat that
//! waits so long is a lease that lapses, and an election for nothing.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use quorate_proto::peer::raft_client::RaftClient;
use quorate_tls::{ExpectedMember, MemberConnector, MemberDialer};
use quorate_types::{EffectiveTiming, Member, MemberId, Timing};
use tokio::sync::watch;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{
    CONNECTION_WINDOW, MAX_MESSAGE, PIECE_PATIENCE, STREAM_WINDOW, cluster_gate::ClusterStamp,
};

pub(crate) type PeerClient = RaftClient<InterceptedService<Channel, ClusterStamp>>;

/// Function from a member and its address to the address to dial. Tests put proxies in between.
pub(crate) type PeerDialer = Arc<dyn Fn(MemberId, &str) -> String + Send + Sync>;

/// Connections to a member. Cheap to clone; each connects when first used and again whenever
/// it breaks.
#[derive(Clone)]
pub(crate) struct PeerConnections {
    address: String,
    /// The name that its certificate must bear, if that is known.
    name: Option<String>,
    patience: ConnectionPatience,
    /// For the calls that a lease or an election hangs on: heartbeats and votes. Each answer is
    /// small and must not wait behind anything that is not.
    pub(crate) urgent: PeerClient,
    /// For the log, and for requests to a leader.
    pub(crate) control: PeerClient,
    /// For snapshots, so that the log never waits behind one.
    pub(crate) bulk: PeerClient,
}

/// Times for which a connection is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ConnectionPatience {
    /// Until the connection is there.
    connect: Duration,
    /// Until the other end, being asked whether it lives, has answered: about half of the time
    /// for which a connection is kept whose other end has vanished without a word. The calls
    /// that wait on it are to learn then that their fate is not known.
    silence: Duration,
}

impl ConnectionPatience {
    fn from_timing(timing: &Timing) -> Self {
        let most = Duration::from_secs(5);
        ConnectionPatience {
            connect: timing.election_max.clamp(Duration::from_millis(125), most),
            silence: timing.failover.clamp(Duration::from_millis(250), most),
        }
    }
}

/// Reason why a member can't be called, wherever its process is.
#[derive(Debug, thiserror::Error)]
enum PeerAddressError {
    #[error("the cluster's id is not ASCII")]
    Cluster,
    #[error(transparent)]
    Address(#[from] tonic::transport::Error),
}

/// Members that this one has heard of, by id. Calls look the address up each time, because
/// openraft keeps a client for as long as it replicates to a member, and the member may move
/// meanwhile.
pub(crate) struct PeerDirectory {
    cluster: String,
    timing: watch::Receiver<EffectiveTiming>,
    dial: Option<PeerDialer>,
    tls: Option<Arc<MemberConnector>>,
    known: RwLock<BTreeMap<MemberId, PeerConnections>>,
    announced: RwLock<BTreeMap<MemberId, AnnouncedAddress>>,
}

/// Address that a member announces itself, while the membership has another: where all have
/// moved, nobody can be reached to put the membership right.
struct AnnouncedAddress {
    address: String,
    /// The address in the membership, once known. As soon as that changes, the announced one
    /// is dropped.
    membership_address: Option<String>,
}

impl fmt::Debug for PeerDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.read();
        let addresses = known.iter().map(|(id, peer)| (id, &peer.address));
        f.debug_map().entries(addresses).finish()
    }
}

impl PeerDirectory {
    pub(crate) fn new(
        cluster: &str,
        timing: watch::Receiver<EffectiveTiming>,
        dial: Option<PeerDialer>,
        tls: Option<Arc<MemberConnector>>,
    ) -> Self {
        PeerDirectory {
            cluster: cluster.to_owned(),
            timing,
            dial,
            tls,
            known: RwLock::default(),
            announced: RwLock::default(),
        }
    }

    /// Returns the connections to a member, if its address is known and makes sense.
    pub(crate) fn get(&self, id: MemberId) -> Option<PeerConnections> {
        self.known.read().get(&id).cloned()
    }

    /// Returns the address of a member, as far as that is known.
    pub(crate) fn address(&self, id: MemberId) -> Option<String> {
        self.known.read().get(&id).map(|peer| peer.address.clone())
    }

    /// Returns the next member after `id`, and after the last the first.
    pub(crate) fn after(&self, id: MemberId) -> Option<MemberId> {
        let known = self.known.read();
        let after = known.range(id + 1..).next();
        after.or_else(|| known.first_key_value()).map(|(id, _)| *id)
    }

    /// Takes in the address of a member in the membership; a new address means new connections.
    pub(crate) fn learn(&self, id: MemberId, member: &Member) {
        let name = (!member.name.is_empty()).then_some(member.name.as_str());
        self.reconnect_if_changed(id, &self.present(id, &member.peer), name);
    }

    /// Takes in the address that a member announces itself; returns whether that is news.
    pub(crate) fn set_announced_address(&self, id: MemberId, address: &str) -> bool {
        let known = self.address(id);
        let news = known.as_deref() != Some(address);
        let mut announced = self.announced.write();
        match announced.get_mut(&id) {
            Some(announced) => announced.address = address.to_owned(),
            None if !news => return false,
            None => {
                let new = AnnouncedAddress {
                    address: address.to_owned(),
                    membership_address: known,
                };
                announced.insert(id, new);
            }
        }
        drop(announced);
        let name = self.name(id);
        self.reconnect_if_changed(id, address, name.as_deref());
        news
    }

    /// Returns the address of a member that is at `address` by the membership.
    fn present(&self, id: MemberId, address: &str) -> String {
        let mut all = self.announced.write();
        let Some(announced) = all.get_mut(&id) else {
            return address.to_owned();
        };
        let in_membership = &mut announced.membership_address;
        if in_membership.get_or_insert_with(|| address.to_owned()) == address {
            return announced.address.clone();
        }
        all.remove(&id);
        address.to_owned()
    }

    fn reconnect_if_changed(&self, id: MemberId, address: &str, name: Option<&str>) {
        let unchanged = |peer: &PeerConnections| {
            // Without TLS a name changes nothing.
            peer.address == address && (self.tls.is_none() || peer.name.as_deref() == name)
        };
        if !self.known.read().get(&id).is_some_and(unchanged) {
            self.replace(id, address, name);
        }
    }

    fn name(&self, id: MemberId) -> Option<String> {
        self.known
            .read()
            .get(&id)
            .and_then(|peer| peer.name.clone())
    }

    /// Returns the TLS by which members are called, and the member that must answer.
    pub(crate) fn tls(&self, id: MemberId) -> Option<(Arc<MemberConnector>, ExpectedMember)> {
        let name = self.name(id);
        Some((self.tls.clone()?, ExpectedMember { id, name }))
    }

    /// Returns connections to a member at an address that another member has named, for one
    /// question.
    pub(crate) fn at(&self, id: MemberId, address: &str) -> Option<PeerConnections> {
        self.connect(id, address, self.name(id).as_deref()).ok()
    }

    /// Connects anew where the timers have changed. Calls that are under way go on as they began.
    pub(crate) fn renew(&self) {
        let patience = self.patience();
        let known = self.known.read();
        let stale = known.iter().filter(|(_, peer)| peer.patience != patience);
        let stale = stale.map(|(id, it)| (*id, it.address.clone(), it.name.clone()));
        let stale: Vec<_> = stale.collect();
        drop(known);
        for (id, address, name) in stale {
            self.replace(id, &address, name.as_deref());
        }
    }

    fn patience(&self) -> ConnectionPatience {
        ConnectionPatience::from_timing(&self.timing.borrow().patience)
    }

    fn replace(&self, id: MemberId, address: &str, name: Option<&str>) {
        match self.connect(id, address, name) {
            Ok(peer) => drop(self.known.write().insert(id, peer)),
            Err(why) => tracing::error!(member = id, address, "cannot call a peer: {why}"),
        }
    }

    /// Forgets the members that `keep` refuses.
    pub(crate) fn retain(&self, keep: impl Fn(MemberId) -> bool) {
        self.known.write().retain(|id, _| keep(*id));
        self.announced.write().retain(|id, _| keep(*id));
    }

    /// Returns the address that is dialled for a member with that address.
    pub(crate) fn dialled(&self, id: MemberId, address: &str) -> String {
        match &self.dial {
            Some(dial) => dial(id, address),
            None => address.to_owned(),
        }
    }

    fn connect(
        &self,
        id: MemberId,
        address: &str,
        name: Option<&str>,
    ) -> Result<PeerConnections, PeerAddressError> {
        let stamp = ClusterStamp::new(&self.cluster, id).ok_or(PeerAddressError::Cluster)?;
        let dialled = self.dialled(id, address);
        let patience = self.patience();
        let urgent = endpoint(&dialled, patience)?;
        // The question whether the other end lives waits behind what is in the sockets: of a
        // snapshot on a slow link that is seconds, in which nothing is wrong.
        let patient = endpoint(
            &dialled,
            ConnectionPatience {
                silence: PIECE_PATIENCE,
                ..patience
            },
        )?;
        let name = name.map(str::to_owned);
        let channel = |endpoint: &Endpoint| match &self.tls {
            None => endpoint.connect_lazy(),
            Some(tls) => {
                let name = name.clone();
                let dialer = MemberDialer::new(tls.clone(), ExpectedMember { id, name });
                endpoint.connect_with_connector_lazy(dialer)
            }
        };
        let client = |endpoint: &Endpoint| {
            let service = InterceptedService::new(channel(endpoint), stamp.clone());
            RaftClient::new(service)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE)
        };
        Ok(PeerConnections {
            address: address.to_owned(),
            name: name.clone(),
            patience,
            urgent: client(&urgent),
            control: client(&urgent),
            bulk: client(&patient),
        })
    }
}

fn endpoint(address: &str, patience: ConnectionPatience) -> Result<Endpoint, PeerAddressError> {
    let uri = format!("http://{address}");
    Ok(Endpoint::from_shared(uri)?
        .tcp_nodelay(true)
        .connect_timeout(patience.connect)
        .http2_keep_alive_interval(patience.silence)
        .keep_alive_timeout(patience.silence)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn announced_address_holds_until_membership_changes() {
        let timing = Timing::from_failover_ms(500).unwrap();
        let (_sender, timings) = watch::channel(EffectiveTiming::from(timing));
        let peers = PeerDirectory::new("aa11", timings, None, None);
        let at = |peer: &str| Member {
            peer: peer.to_owned(),
            ..Member::default()
        };
        let dialled = || peers.address(2).unwrap_or_default();
        peers.learn(2, &at("old:1"));
        assert!(!peers.set_announced_address(2, "old:1"));
        assert!(peers.set_announced_address(2, "told:1"));
        assert!(!peers.set_announced_address(2, "told:1"));
        // The same once more, as at each change of another member.
        peers.learn(2, &at("old:1"));
        assert_eq!(dialled(), "told:1");
        assert!(peers.set_announced_address(2, "again:1"));
        assert_eq!(dialled(), "again:1");
        peers.learn(2, &at("new:1"));
        assert_eq!(dialled(), "new:1");
        peers.learn(2, &at("old:1"));
        assert_eq!(dialled(), "old:1");
    }
}
