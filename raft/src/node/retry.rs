//! Trying at whoever leads until it is done, surely refused, or too late.

use std::time::Duration;

use quorate_clock::{Instant, chance};
use rand::Rng;

use super::Inner;
use crate::MemberId;

const FIRST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(50);

/// Follows the leader from one attempt to the next.
pub(crate) struct Retry<'a> {
    node: &'a Inner,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pause: Duration,
    /// Whom the last one asked has named.
    hint: Option<MemberId>,
    last: Option<MemberId>,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(node: &'a Inner, deadline: Instant) -> Self {
        Retry {
            node,
            started: Instant::now(),
            deadline,
            pause: FIRST,
            hint: None,
            last: None,
        }
    }

    /// Whom to ask now.
    pub(crate) fn leader(&mut self) -> Option<MemberId> {
        let live = || self.node.tracker.live_leader(Instant::now());
        self.last = self.hint.take().or_else(live);
        self.last
    }

    /// Waits before the next attempt, less when there is news of the leader. False when the
    /// time is over.
    pub(crate) async fn again(&mut self, named: Option<MemberId>) -> bool {
        let now = Instant::now();
        if now >= self.deadline || self.node.closing() {
            return false;
        }
        let pause = self.pause.mul_f64(chance().random_range(0.5..1.0));
        self.pause = (self.pause * 2).min(LONGEST);
        self.hint = named.filter(|id| Some(*id) != self.last);
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

/// Whom a `NotLeader` answer names.
pub(crate) fn named(answer: &quorate_proto::peer::NotLeader) -> Option<MemberId> {
    (answer.leader != 0).then_some(answer.leader)
}
