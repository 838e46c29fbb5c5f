//! Retry at the leader, until a request is done, surely refused, or too late.
//!
//! A member that does not lead names the leader and its address. The request follows to that
//! address, since what this member knows may be old: it learns addresses from the log, which
//! it may not have read so far. An address that is wrong or old itself harms nothing. Each
//! call names the cluster and the member that it is meant for, and any other member that
//! listens there refuses it untouched (see [`cluster_gate`](crate::network)); a program that
//! listens there and is no member gives an answer that proves nothing, which for a write is
//! `unknown`. An address that was named serves one question only and never replaces the one
//! in the membership.
//!
//! Where the leader is heard and can't be asked, another member is asked in its place: it
//! either leads by then or names an address.

use std::time::Duration;

use quorate_clock::{Instant, rng};
use quorate_proto::peer::NotLeader;
use quorate_types::{MemberId, backoff::Backoff};
use rand::Rng;

use crate::{
    consensus::ConsensusHandle,
    network::{PeerConnections, PeerDirectory},
};

/// Pauses between two attempts.
const FIRST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(50);

/// Follows the leader from one attempt to the next.
pub(crate) struct LeaderRetry<'a> {
    consensus: &'a ConsensusHandle,
    peers: &'a PeerDirectory,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pauses: Backoff,
    /// The member to ask next: named by the last one asked, or the next one around.
    hint: Option<MemberId>,
    /// The address of the named member, as the last one asked has it.
    redirect: Option<(MemberId, String)>,
    last: Option<MemberId>,
    /// The last member that was asked in the leader's place.
    stand_in: MemberId,
}

impl<'a> LeaderRetry<'a> {
    pub(crate) fn new(
        consensus: &'a ConsensusHandle,
        peers: &'a PeerDirectory,
        deadline: Instant,
    ) -> Self {
        LeaderRetry {
            consensus,
            peers,
            started: Instant::now(),
            deadline,
            pauses: Backoff::new(FIRST, LONGEST),
            hint: None,
            redirect: None,
            last: None,
            stand_in: consensus.id,
        }
    }

    /// Returns the member to ask now.
    pub(crate) fn leader(&mut self) -> Option<MemberId> {
        let live = || self.consensus.tracker.live_leader(Instant::now());
        self.last = self.hint.take().or_else(live);
        self.last
    }

    /// Returns connections to `id`: at the address that was named last, or that of the
    /// membership.
    pub(crate) fn peer(&mut self, id: MemberId) -> Option<PeerConnections> {
        let named = self.redirect.take().filter(|(named, _)| *named == id);
        let known = self.peers.address(id);
        match named.filter(|(_, address)| known.as_ref() != Some(address)) {
            Some((_, address)) => self.peers.at(id, &address),
            None => self.peers.get(id),
        }
    }

    /// Takes in the leader that an answer names, and its address.
    pub(crate) fn redirected(&mut self, answer: NotLeader) -> Option<MemberId> {
        let leader = (answer.leader != 0).then_some(answer.leader);
        self.redirect = leader.zip(answer.member.map(|member| member.peer));
        leader
    }

    /// Returns the next member around, if the leader that was asked is heard and gave no answer.
    fn next_stand_in(&mut self) -> Option<MemberId> {
        let (me, leader) = (self.consensus.id, self.last?);
        let heard = self.consensus.tracker.live_leader(Instant::now()) == Some(leader);
        if leader == me || !heard {
            return None;
        }
        let mut next = self.peers.after(self.stand_in)?;
        if next == leader {
            next = self.peers.after(leader)?;
        }
        self.stand_in = next;
        Some(next).filter(|next| *next != leader)
    }

    /// Waits before the next attempt, less when there is news of the leader. False when the
    /// time is over.
    pub(crate) async fn wait_before_retry(&mut self, named: Option<MemberId>) -> bool {
        let now = Instant::now();
        if now >= self.deadline || self.consensus.is_closing() {
            return false;
        }
        let pause = self.pauses.step().mul_f64(rng().random_range(0.5..1.0));
        self.hint = match named {
            Some(id) => Some(id).filter(|id| Some(*id) != self.last),
            None => self.next_stand_in(),
        };
        let until = (now + pause).min(self.deadline);
        let mut seen = self.consensus.tracker.subscribe();
        let was = *seen.borrow_and_update();
        let blind = self.last.is_none();
        let news = seen.wait_for(|l| {
            let other = l.leader.is_some() && (l.leader, l.term) != (was.leader, was.term);
            other || blind && l.heard_at > was.heard_at
        });
        // Either way it is time to look again.
        let _ = tokio::time::timeout_at(until, news).await;
        Instant::now() < self.deadline
    }

    pub(crate) fn waited_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(crate) fn left_ms(&self) -> u64 {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left.as_millis() as u64
    }
}
