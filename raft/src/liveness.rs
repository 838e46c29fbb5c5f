//! Which members' processes have died for sure, and an election at once when it is the
//! leader's.
//!
//! Each member holds one TCP connection to each other member's peer port and says nothing
//! on it; what the other side says is ignored. When a process dies, the kernel closes its
//! sockets, and who connects anew is refused. So a process is *dead for sure* when a
//! connection to it was closed or reset and [`REFUSALS`] attempts in a row at the very same
//! address, some time apart, were refused. They are made for some time, because a dying
//! process closes its sockets one by one, and its listener may be the last: the kernel goes on
//! accepting for it meanwhile. Several attempts in a row that are accepted end the suspicion,
//! until the last connection is lost too; one that stays without an answer ends it
//! altogether. Not a death: a process that is stopped (the kernel goes on
//! accepting for it), a host that vanishes (nothing is refused), a member that was never
//! connected, one that has moved or was removed (the connection is dropped with the
//! address). A process that is replaced so quickly that no attempt is refused counts as
//! alive: nothing on the connection tells the two apart, its election is left to the
//! timers, and no real start is that quick. A verdict holds for leaders that were known
//! before it; whoever is elected later leads with a process that lives.
//!
//! When the leader is dead for sure, the voters that are left stand for election, the one
//! with the highest id at once, each other 20 ms after the one before; one that is asked by
//! a candidate whose log is shorter than its own at once. A candidate first asks, without
//! touching any term, whether a quorum would elect it (a pre-vote for `DEATH`), every 2 ms
//! until it does: whoever learns of the death some milliseconds later burns no term. Then
//! it asks for votes with openraft's transfer flag, and says `DEATH`. A voter lets that flag
//! stand only if the leader it knows is dead by its own liveness, and never if it leads
//! itself; otherwise it votes by its patience (see [`crate::election`]). When nobody has been
//! elected after a while, the timers take over.
//!
//! # What stays safe when the signs lie
//!
//! A firewall can reset connections and refuse new ones while the leader is alive.
//! - *On one link.* No quorum agrees, because a voter trusts its own connection only and the
//!   leader always disagrees. The leader stays, in the same term.
//! - *On all of the leader's links.* The others elect a successor while the old leader runs.
//!   The log stays right: Raft's safety rests on votes and quorums, never on leases, and
//!   reads are ReadIndex, which a deposed leader can't answer. The old leader's connectors
//!   may act on until its lease is over, and that is known to the successor: votes carry
//!   when each voter last heard a leader, whatever the votes' reason (see [`crate::votes`]),
//!   so its `lease_clear_at` is past the old lease; what is fenced by lease waits for it.
//!
//! What does not hold by this alone: that only one process consumes from a broker while the
//! old lease runs. Where the successor does not wait for it, the broker's exclusive consumer
//! must keep the old one out, and the gateway and the executing member, which refuse older
//! epochs, must keep what it has already fetched from being run twice.

mod early_election;
mod listener;
mod peer_probe;
mod peer_probes;
pub(crate) mod rules;

use std::collections::BTreeMap;

use quorate_clock::Instant;
use tokio::sync::watch;

pub(crate) use early_election::campaign_on_leader_death;
pub use listener::closed_first;
pub(crate) use peer_probes::probe_all_peers;

use quorate_types::MemberId;

/// Refused attempts in a row that make a lost connection a death.
const REFUSALS: u32 = 2;

/// What the connection to a member says of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerLiveness {
    /// There is no connection, and nothing is known.
    Unknown,
    /// It holds a connection.
    Alive,
    /// Nobody listens there; it was not seen alive before.
    Absent,
    /// It has died for sure; this was certain at that time.
    Dead(Instant),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownPeer {
    address: String,
    sign: PeerLiveness,
}

/// What is known of all other members' processes.
pub(crate) struct LivenessTable {
    known: watch::Sender<BTreeMap<MemberId, KnownPeer>>,
    /// The latest term of which a candidate was seen whose log is shorter than this member's.
    urged: watch::Sender<u64>,
}

impl LivenessTable {
    pub(crate) fn new() -> Self {
        LivenessTable {
            known: watch::Sender::default(),
            urged: watch::Sender::default(),
        }
    }

    /// Since when a member has been known to be dead for sure.
    pub(crate) fn dead_since(&self, id: MemberId) -> Option<Instant> {
        match self.known.borrow().get(&id)?.sign {
            PeerLiveness::Dead(since) => Some(since),
            _ => None,
        }
    }

    /// Returns when a member has died for sure, at `from` or later: one that is said to be
    /// dead may have been started again just now.
    pub(crate) async fn wait_for_death(&self, id: MemberId, from: Instant) {
        let mut known = self.known.subscribe();
        let dead = known.wait_for(|all| {
            let sign = all.get(&id).map(|known| known.sign);
            matches!(sign, Some(PeerLiveness::Dead(since)) if since >= from)
        });
        if dead.await.is_err() {
            std::future::pending().await
        }
    }

    /// Who is dead or does not listen, and since when that has been certain.
    pub(crate) fn gone(&self) -> BTreeMap<MemberId, Option<Instant>> {
        let known = self.known.borrow();
        let gone = known.iter().filter_map(|(id, known)| match known.sign {
            PeerLiveness::Dead(since) => Some((*id, Some(since))),
            PeerLiveness::Absent => Some((*id, None)),
            PeerLiveness::Unknown | PeerLiveness::Alive => None,
        });
        gone.collect()
    }

    /// Returns at the next change of any sign.
    pub(crate) fn changes(&self) -> watch::Receiver<impl Send + Sync> {
        self.known.subscribe()
    }

    /// A candidate for `term` needs somebody else to be elected: this member's log is longer.
    pub(crate) fn urge(&self, term: u64) {
        self.urged
            .send_if_modified(|urged| std::mem::replace(urged, term.max(*urged)) < term);
    }

    fn note(&self, id: MemberId, address: &str, sign: PeerLiveness) {
        self.known.send_if_modified(|all| {
            let Some(known) = all.get_mut(&id).filter(|known| known.address == address) else {
                return false;
            };
            let sign = rules::sign(known.sign, sign);
            std::mem::replace(&mut known.sign, sign) != sign
        });
    }
}
