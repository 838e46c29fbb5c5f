//! Liveness: which members' processes have died for sure, and what follows for elections.
//!
//! Each member holds one TCP connection to each other member's peer port and sends nothing on
//! it; what the other side sends is ignored. When a process dies, the kernel closes its
//! sockets, and new connections are refused. So a process is *dead for sure* when a
//! connection to it was closed or reset and [`rules::REFUSALS`] attempts in a row at the very same
//! address, some time apart, were refused. Attempts are made for some time, because a dying
//! process closes its sockets one by one, and its listener may be the last: the kernel goes on
//! accepting for it meanwhile. Several attempts in a row that are accepted end the suspicion,
//! until the last connection is lost too; an attempt that stays without an answer ends it
//! altogether.
//!
//! Not a death: a process that is stopped (the kernel goes on accepting for it), a host that
//! vanishes (nothing is refused), a member that was never connected, a member that has moved
//! or was removed (the connection is dropped with the address). A process that is replaced so
//! quickly that no attempt is refused counts as alive: nothing on the connection tells the two
//! apart, its election is left to the timers, and no real start is that quick. A verdict holds
//! for leaders that were known before it; a leader that is elected later leads with a process
//! that lives.
//!
//! When the leader is dead for sure, the voters that are left stand for election, the one
//! with the highest id at once, each other 20 ms after the one before; a voter that is asked
//! by a candidate whose log is shorter than its own stands at once. A candidate first asks,
//! without touching any term, whether a quorum would elect it (a pre-vote for `DEATH`), every
//! 2 ms until it does: a voter that learns of the death some milliseconds later burns no term.
//! Then the candidate asks for votes with openraft's transfer flag and the reason `DEATH`. A
//! voter lets that flag stand only if the leader it knows is dead by its own liveness, and
//! never if it leads itself; otherwise it votes by its patience (see [`crate::election`]).
//! When nobody has been elected after a while, the timers take over.
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

mod listener;
mod peer_probe;
mod peer_probes;
pub(crate) mod rules;

use std::collections::BTreeMap;

use quorate_clock::Instant;
use quorate_types::MemberId;
use tokio::sync::watch;

pub use listener::closed_first;
pub(crate) use peer_probes::{PeerProber, probe_all_peers};
use rules::PeerLiveness;

#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownPeer {
    address: String,
    liveness: PeerLiveness,
}

/// Knowledge of all other members' processes.
pub(crate) struct LivenessTable {
    known: watch::Sender<BTreeMap<MemberId, KnownPeer>>,
    /// The latest term with a candidate whose log is shorter than this member's.
    urged: watch::Sender<u64>,
}

impl LivenessTable {
    pub(crate) fn new() -> Self {
        LivenessTable {
            known: watch::Sender::default(),
            urged: watch::Sender::default(),
        }
    }

    /// Returns since when a member has been known to be dead for sure.
    pub(crate) fn dead_since(&self, id: MemberId) -> Option<Instant> {
        match self.known.borrow().get(&id)?.liveness {
            PeerLiveness::Dead(since) => Some(since),
            _ => None,
        }
    }

    /// Returns when a member has died for sure, at `from` or later: a member that is known as
    /// dead may have been started again just now.
    pub(crate) async fn wait_for_death(&self, id: MemberId, from: Instant) {
        let mut known = self.known.subscribe();
        let dead = known.wait_for(|all| {
            let liveness = all.get(&id).map(|known| known.liveness);
            matches!(liveness, Some(PeerLiveness::Dead(since)) if since >= from)
        });
        if dead.await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns the members that are dead or do not listen, and since when that has been
    /// certain.
    pub(crate) fn gone(&self) -> BTreeMap<MemberId, Option<Instant>> {
        let known = self.known.borrow();
        let gone = known.iter().filter_map(|(id, known)| match known.liveness {
            PeerLiveness::Dead(since) => Some((*id, Some(since))),
            PeerLiveness::Absent => Some((*id, None)),
            PeerLiveness::Unknown | PeerLiveness::Alive => None,
        });
        gone.collect()
    }

    /// Follows the changes of any member's liveness.
    pub(crate) fn changes(&self) -> watch::Receiver<impl Send + Sync> {
        self.known.subscribe()
    }

    /// Notes that a candidate for `term` needs another to be elected: this member's log is
    /// longer.
    pub(crate) fn urge(&self, term: u64) {
        self.urged
            .send_if_modified(|urged| std::mem::replace(urged, term.max(*urged)) < term);
    }

    /// Returns once this member was urged to stand in a later term.
    pub(crate) async fn urged_after(&self, term: u64) {
        let mut urged = self.urged.subscribe();
        // The sender is in `self`.
        let _ = urged.wait_for(|urged| *urged > term).await;
    }

    /// Connects the table to these members and addresses, and forgets all others.
    fn retain(&self, wanted: &BTreeMap<MemberId, String>) {
        self.known.send_modify(|known| {
            known.retain(|id, known| wanted.get(id) == Some(&known.address));
            for (id, address) in wanted {
                known.entry(*id).or_insert_with(|| KnownPeer {
                    address: address.clone(),
                    liveness: PeerLiveness::Unknown,
                });
            }
        });
    }

    fn note(&self, id: MemberId, address: &str, seen: PeerLiveness) {
        self.known.send_if_modified(|all| {
            let Some(known) = all.get_mut(&id).filter(|known| known.address == address) else {
                return false;
            };
            let liveness = rules::next_liveness(known.liveness, seen);
            std::mem::replace(&mut known.liveness, liveness) != liveness
        });
    }
}
