//! Elections as openraft holds them, with the rules of the peer server around it.

use std::time::Duration;

use quorate_raft::decision_harness::{self, HarnessBallot};
use quorate_types::ElectionReason;

use crate::{
    clocks::{instant, micros},
    group::{Campaign, Entry, Leading, LogId, SLOTS, What, bit, members},
    links::{Answer, Ask, Body},
    world::{Timer, World},
};

/// The steps of what is drawn for an election timer.
const PARTS: u64 = 1_000_000;

impl World<'_> {
    /// The election timer has been looked at.
    pub fn election(&mut self, id: usize) {
        let mono = self.mono(id);
        let member = &self.members[id - 1];
        let voter = member.voters().all() & bit(id) != 0;
        let process = member.process.as_ref().expect("looked at before");
        let (timing, draw) = (process.timing, process.draw);
        let part = self.draw(&[3, id as u64, draw], PARTS) as f64 / PARTS as f64;
        let due = self.process(id).tracker.election_due(part).map(micros);
        let due = due.filter(|_| voter && self.process(id).leading.is_none());
        if due.is_none_or(|due| due > mono) {
            let again = due.unwrap_or_default().max(mono + 10_000);
            return self.set(id, again, Timer::Election);
        }
        self.process(id).draw += 1;
        // The next one, should this come to nothing.
        let again = mono + timing.election_max.as_micros() as u64;
        self.set(id, again, Timer::Election);
        self.asks_before(id);
    }

    /// Whether it would be elected, by a timer: no term is touched.
    pub fn asks_before(&mut self, id: usize) {
        let ballot = HarnessBallot {
            term: self.members[id - 1].ballot.term + 1,
            member: id as u64,
            committed: false,
        };
        self.process(id).campaign = Some(Campaign {
            ballot,
            granted: bit(id),
            pre: true,
        });
        self.asks(id, ballot, true, false);
        self.counts(id);
    }

    /// Campaigns in `term`; `flagged`: with the flag that releases voters.
    pub fn campaigns(&mut self, id: usize, term: u64, flagged: bool) {
        let ballot = HarnessBallot {
            term,
            member: id as u64,
            committed: false,
        };
        if self.members[id - 1].ballot >= ballot || self.members[id - 1].process.is_none() {
            return;
        }
        self.adopts(id, ballot);
        self.process(id).campaign = Some(Campaign {
            ballot,
            granted: bit(id),
            pre: false,
        });
        self.tell(|| format!("member {id} asks for votes in term {term}"));
        self.asks(id, ballot, false, flagged);
        self.counts(id);
        self.settles(id);
    }

    fn asks(&mut self, id: usize, ballot: HarnessBallot, pre: bool, flagged: bool) {
        let now = instant(self.mono(id));
        let member = &self.members[id - 1];
        let (others, last) = (member.voters().all() & !bit(id), member.last());
        for to in members(others) {
            let reason = self.process(id).tracker.asks(ballot.term, flagged, now);
            let ask = Ask {
                ballot,
                last,
                reason,
                pre,
            };
            self.send(id, to, Body::Ask(ask));
        }
    }

    /// Accepts a vote that is not below its own; leadership or candidacy is over.
    pub fn adopts(&mut self, id: usize, ballot: HarnessBallot) {
        let member = &mut self.members[id - 1];
        let process = member.process.as_mut().expect("looked at before");
        if ballot > member.ballot {
            member.ballot = ballot;
            process.leading = None;
            process.campaign = None;
        }
    }

    pub fn asked(&mut self, from: usize, id: usize, ask: Ask) {
        let granted = match ask.pre {
            true => self.would_elect(id, &ask),
            false => self.free(id, &ask) && self.grants(id, &ask),
        };
        let now = instant(self.mono(id));
        let told = match granted && !ask.pre {
            true => {
                let (term, member) = (ask.ballot.term, ask.ballot.member);
                self.tell(|| format!("member {id} votes for member {member} in term {term}"));
                let told = self.process(id).tracker.voted(ask.ballot, now);
                self.voted(id, from, wire(told));
                told
            }
            false => Duration::ZERO,
        };
        let answer = Answer {
            asked: ask.ballot,
            granted,
            ballot: self.members[id - 1].ballot,
            told: wire(told),
            reason: ask.reason,
            pre: ask.pre,
        };
        self.send(id, from, Body::Answer(answer));
    }

    /// Whether it need not stand by a leader, as `election::vote_granting` has it.
    fn free(&mut self, id: usize, ask: &Ask) -> bool {
        let released = match ask.reason {
            ElectionReason::Timeout => false,
            ElectionReason::Transfer => true,
            ElectionReason::Death => self.agrees(id),
        };
        let now = instant(self.mono(id));
        released || !self.process(id).tracker.stands_by_leader(now)
    }

    fn grants(&mut self, id: usize, ask: &Ask) -> bool {
        let member = &self.members[id - 1];
        if ask.last < member.last() || ask.ballot < member.ballot {
            return false;
        }
        self.adopts(id, ask.ballot);
        true
    }

    /// What a candidate is told that has not asked for votes yet.
    fn would_elect(&mut self, id: usize, ask: &Ask) -> bool {
        let free = match ask.reason {
            ElectionReason::Death => self.agrees(id),
            _ => self.free(id, ask),
        };
        let member = &self.members[id - 1];
        let knows = member.ballot.committed;
        let granted = free && ask.last >= member.last() && ask.ballot > member.ballot;
        if granted && !knows && ask.reason == ElectionReason::Death {
            // Who does not know the leader yet has nothing that speaks against its death.
            let unknown = self.leader;
            self.book.suspected[unknown] |= bit(id);
        }
        granted
    }

    fn agrees(&mut self, id: usize) -> bool {
        let ballot = self.members[id - 1].ballot;
        let dead = self.lost(id).is_some_and(|(lost, _)| lost == ballot);
        decision_harness::may_ignore_lease(id as u64, ballot, dead)
    }

    pub fn answered(&mut self, from: usize, id: usize, answer: Answer) {
        if answer.pre && answer.reason == ElectionReason::Death {
            return self.agreed(from, id, answer);
        }
        let now = instant(self.mono(id));
        if answer.granted && !answer.pre && answer.ballot == answer.asked {
            let term = answer.asked.term;
            self.process(id)
                .tracker
                .vote_received(term, now, answer.told);
        }
        if answer.ballot > self.members[id - 1].ballot {
            return self.adopts(id, answer.ballot);
        }
        let campaign = self.process(id).campaign.as_mut();
        let same = |it: &&mut Campaign| it.ballot == answer.asked && it.pre == answer.pre;
        if let Some(campaign) = campaign.filter(same).filter(|_| answer.granted) {
            campaign.granted |= bit(from);
            self.counts(id);
        }
    }

    fn counts(&mut self, id: usize) {
        let member = &self.members[id - 1];
        let process = member.process.as_ref().expect("looked at before");
        let Some(campaign) = &process.campaign else {
            return;
        };
        let (ballot, pre) = (campaign.ballot, campaign.pre);
        if !member.voters().quorum(campaign.granted) {
            return;
        }
        self.process(id).campaign = None;
        if pre {
            return self.campaigns(id, ballot.term, false);
        }
        let ballot = HarnessBallot {
            committed: true,
            ..ballot
        };
        self.members[id - 1].ballot = ballot;
        let process = self.process(id);
        process.leading = Some(Leading {
            acked: [None; SLOTS + 1],
            matched: [0; SLOTS + 1],
            until: [None; SLOTS + 1],
            transferring: false,
        });
        process.renewed = None;
        self.leader = id;
        self.book.suspected[id] = 0;
        self.book.elected[id] = ballot.term;
        self.tell(|| format!("member {id} is elected in term {}", ballot.term));
        self.appends(id, What::Blank);
        self.beats(id);
    }

    /// A new entry in a leader's log: its index.
    pub fn appends(&mut self, id: usize, what: What) -> Option<(usize, Entry)> {
        let member = &mut self.members[id - 1];
        let leading = member.process.as_ref()?.leading.as_ref()?;
        if leading.transferring {
            return None;
        }
        let entry = Entry {
            term: member.ballot.term,
            leader: id,
            what,
        };
        member.log.push(entry);
        let index = member.log.len();
        self.replicates(id);
        Some((index, entry))
    }

    /// Leadership is handed over: the leader is silent from here on.
    pub fn transfers(&mut self, id: usize, to: usize) {
        let member = &mut self.members[id - 1];
        let (ballot, last, all) = (member.ballot, member.last(), member.voters().all());
        let Some(process) = &mut member.process else {
            return;
        };
        let Some(leading) = &mut process.leading else {
            return;
        };
        if to == id || all & bit(to) == 0 {
            return;
        }
        leading.transferring = true;
        let patience = process.timing.election_max.as_micros() as u64;
        self.tell(|| format!("member {id} transfers to member {to}"));
        for other in members(all & !bit(id)) {
            self.send(id, other, Body::Hand(ballot, to, last));
        }
        let due = self.mono(id) + patience;
        self.set(id, due, Timer::Recover(ballot.term, to));
    }

    pub fn handed(&mut self, id: usize, ballot: HarnessBallot, heir: usize, last: LogId) {
        let now = instant(self.mono(id));
        if heir == id {
            let term = ballot.term + 1;
            self.process(id)
                .tracker
                .campaigns(term, ElectionReason::Transfer, now);
        }
        let member = &self.members[id - 1];
        if member.ballot != ballot {
            return;
        }
        if heir == id && self.members[id - 1].last() >= last {
            self.campaigns(id, ballot.term + 1, true);
        }
    }

    /// Nobody was elected: the leader votes for the target, which ends its own leadership.
    pub fn recovers(&mut self, id: usize, term: u64, target: usize) {
        if self.members[id - 1].ballot.term != term || self.process(id).leading.is_none() {
            return;
        }
        let ballot = HarnessBallot {
            term: term + 1,
            member: target as u64,
            committed: false,
        };
        self.adopts(id, ballot);
        let mono = self.mono(id);
        self.process(id).tracker.voted(ballot, instant(mono));
        self.set(id, mono + 1_000, Timer::StandAgain(term + 1));
    }

    pub fn stands_again(&mut self, id: usize, term: u64) {
        let now = instant(self.mono(id));
        let ballot = self.members[id - 1].ballot;
        self.process(id)
            .tracker
            .campaigns(term + 1, ElectionReason::Transfer, now);
        if ballot.term == term && !ballot.committed {
            self.campaigns(id, term + 1, true);
        }
    }
}

/// It goes over the wire in whole microseconds, rounded up.
fn wire(left: Duration) -> Duration {
    Duration::from_micros(left.as_nanos().div_ceil(1_000) as u64)
}
