//! Trying at whoever leads until it is done, surely refused, or too late.
//!
//! A member that does not lead answers who does, and where that member is. The answer is
//! followed to that address, since what this member knows may be old: it learns addresses from
//! the log, which it may not have read so far. An address that is wrong or old itself harms
//! nothing. Each call names the cluster and the member that it is meant for, and whoever else
//! listens there refuses it untouched (see [`gate`](crate::network)); what listens there and is
//! no member gives an answer that tells nothing, which for a write is `unknown`. An address
//! that was named serves one question only and never replaces what the membership says.
//!
//! Where the leader is heard and can't be asked, another member is asked in its place: it
//! either leads by then or names an address.

use std::time::Duration;

use quorate_clock::{Instant, rng};
use quorate_proto::peer::NotLeader;
use quorate_types::MemberId;
use rand::Rng;

use super::NodeInner;
use crate::network::PeerConnections;

const FIRST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(50);

/// Follows the leader from one attempt to the next.
pub(crate) struct LeaderRetry<'a> {
    node: &'a NodeInner,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pause: Duration,
    /// Whom to ask next: named by the last one asked, or the next one around.
    hint: Option<MemberId>,
    /// Where the named member is, as the last one asked has it.
    redirect: Option<(MemberId, String)>,
    last: Option<MemberId>,
    /// The last member that was asked in the leader's place.
    stand_in: MemberId,
}

impl<'a> LeaderRetry<'a> {
    pub(crate) fn new(node: &'a NodeInner, deadline: Instant) -> Self {
        LeaderRetry {
            node,
            started: Instant::now(),
            deadline,
            pause: FIRST,
            hint: None,
            redirect: None,
            last: None,
            stand_in: node.id,
        }
    }

    /// Whom to ask now.
    pub(crate) fn leader(&mut self) -> Option<MemberId> {
        let live = || self.node.tracker.live_leader(Instant::now());
        self.last = self.hint.take().or_else(live);
        self.last
    }

    /// The connection to `id`: to where it was named last, or where the membership says.
    pub(crate) fn peer(&mut self, id: MemberId) -> Option<PeerConnections> {
        let named = self.redirect.take().filter(|(named, _)| *named == id);
        let known = self.node.peers.address(id);
        match named.filter(|(_, address)| known.as_ref() != Some(address)) {
            Some((_, address)) => self.node.peers.at(id, &address),
            None => self.node.peers.get(id),
        }
    }

    /// Takes in whom an answer names as leader, and where.
    pub(crate) fn redirected(&mut self, answer: NotLeader) -> Option<MemberId> {
        let leader = (answer.leader != 0).then_some(answer.leader);
        self.redirect = leader.zip(answer.member.map(|member| member.peer));
        leader
    }

    /// The next member around, if the leader that was asked is heard and gave no answer.
    fn next_stand_in(&mut self) -> Option<MemberId> {
        let (me, leader) = (self.node.id, self.last?);
        let heard = self.node.tracker.live_leader(Instant::now()) == Some(leader);
        if leader == me || !heard {
            return None;
        }
        let mut next = self.node.peers.after(self.stand_in)?;
        if next == leader {
            next = self.node.peers.after(leader)?;
        }
        self.stand_in = next;
        Some(next).filter(|next| *next != leader)
    }

    /// Waits before the next attempt, less when there is news of the leader. False when the
    /// time is over.
    pub(crate) async fn wait_before_retry(&mut self, named: Option<MemberId>) -> bool {
        let now = Instant::now();
        if now >= self.deadline || self.node.closing() {
            return false;
        }
        let pause = self.pause.mul_f64(rng().random_range(0.5..1.0));
        self.pause = (self.pause * 2).min(LONGEST);
        self.hint = match named {
            Some(id) => Some(id).filter(|id| Some(*id) != self.last),
            None => self.next_stand_in(),
        };
        let until = (now + pause).min(self.deadline);
        let mut seen = self.node.tracker.subscribe();
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
