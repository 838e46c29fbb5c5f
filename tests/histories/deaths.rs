//! Campaigns because the leader has died: what `election::early_election` does around the
//! rules.

use quorate_raft::decision_harness::{self, HarnessBallot};
use quorate_types::ElectionReason;

use crate::{
    clocks::{instant, micros},
    group::{bit, members},
    links::{Answer, Ask, Body},
    world::{Timer, World},
};

/// Before those that did not agree are asked again.
const ASK_AGAIN: u64 = 4_000;

impl World<'_> {
    /// A connection was lost or is held: the kernel's word, or a forger's.
    pub fn told(&mut self, at: usize, of: usize, alive: bool) {
        let now = instant(self.mono(at));
        let cut = self.links.is_cut(of, at, self.now);
        let lives = self.members[of - 1].process.is_some();
        let Some(process) = &mut self.members[at - 1].process else {
            return;
        };
        match alive {
            true if lives => process.lines[of].held(),
            false if !lives && !cut => {
                process.lines[of].refused(now);
                self.book.suspected[of] |= bit(at);
            }
            _ => {}
        }
        self.settles(at);
    }

    pub fn forged(&mut self, at: usize, of: usize) {
        let now = instant(self.mono(at));
        if let Some(process) = &mut self.members[at - 1].process {
            process.lines[of].refused(now);
            self.book.suspected[of] |= bit(at);
            self.tell(|| format!("member {at} takes member {of} for dead"));
            self.settles(at);
        }
    }

    /// The leader that this member knows, if it has died for sure, and since when.
    pub fn lost(&self, id: usize) -> Option<(HarnessBallot, u64)> {
        let process = self.members[id - 1].process.as_ref()?;
        let (ballot, known_since) = process.tracker.ballot();
        if !ballot.committed || ballot.member == id as u64 {
            return None;
        }
        let dead_since = process.lines[ballot.member as usize].dead_since();
        let since = decision_harness::died(known_since, dead_since)?;
        Some((ballot, micros(since)))
    }

    /// Campaigns once for each leader that has died.
    pub fn deaths(&mut self, id: usize) {
        let Some((lost, since)) = self.lost(id) else {
            return;
        };
        let mono = self.mono(id);
        let voters = self.members[id - 1].voters();
        let process = self.process(id);
        if process.stood == Some(lost) {
            return;
        }
        process.stood = Some(lost);
        let until = since + process.timing.election_max.as_micros() as u64;
        let lines = &process.lines;
        let dead = |it: u64| it == lost.member || lines[it as usize].dead_since().is_some();
        let Some((rank, stagger)) = decision_harness::rank(id as u64, &voters.sets(), dead) else {
            return;
        };
        let wait = (stagger * rank).as_micros() as u64;
        self.set(id, mono + wait, Timer::Office(lost, until));
    }

    pub fn office(&mut self, id: usize, lost: HarnessBallot, until: u64) {
        let mono = self.mono(id);
        let still = self.lost(id).is_some_and(|(now, _)| now == lost);
        if !still || mono > until {
            self.process(id).office = None;
            return;
        }
        let process = self.process(id);
        if process.office.is_none_or(|(of, _)| of != lost) {
            process.office = Some((lost, bit(id)));
        }
        let granted = process.office.map_or(0, |(_, granted)| granted);
        let member = &self.members[id - 1];
        let (all, last) = (member.voters().all(), member.last());
        let ballot = HarnessBallot {
            term: lost.term + 1,
            member: id as u64,
            committed: false,
        };
        for to in members(all & !granted) {
            let ask = Ask {
                ballot,
                last,
                reason: ElectionReason::Death,
                pre: true,
            };
            self.send(id, to, Body::Ask(ask));
        }
        self.set(id, mono + ASK_AGAIN, Timer::Office(lost, until));
        self.elects_itself(id, lost);
    }

    pub fn agreed(&mut self, from: usize, id: usize, answer: Answer) {
        let Some((lost, granted)) = &mut self.process(id).office else {
            return;
        };
        if answer.granted && answer.asked.term == lost.term + 1 {
            *granted |= bit(from);
            let lost = *lost;
            self.elects_itself(id, lost);
        }
    }

    /// Asks for votes once a quorum would elect it.
    fn elects_itself(&mut self, id: usize, lost: HarnessBallot) {
        let Some((_, granted)) = self.process(id).office else {
            return;
        };
        let voters = self.members[id - 1].voters();
        let granted = members(granted).map(|id| id as u64).collect();
        if !decision_harness::quorum(&voters.sets(), &granted) {
            return;
        }
        self.process(id).office = None;
        let Some((_, since)) = self.lost(id).filter(|(now, _)| *now == lost) else {
            return;
        };
        let term = lost.term + 1;
        let tracker = &self.process(id).tracker;
        tracker.campaigns(term, ElectionReason::Death, instant(since));
        if self.members[id - 1].ballot == lost {
            self.died(lost, voters);
            self.campaigns(id, term, true);
        }
    }
}
