//! The log: appends, answers, commits, and what is applied.

use std::{rc::Rc, time::Duration};

use quorate_state::{Command, StateEvent};

use crate::{
    clocks::instant,
    group::{Entry, SLOTS, Voters, What, bit, members},
    links::{Append, Appended, Body, Outcome},
    world::{Timer, World},
};

/// How often the only voter renews its own leadership.
const ALONE: u64 = 5_000;

fn micros_of(time: Duration) -> u64 {
    time.as_micros() as u64
}

/// How long a lease may run by another's clock, at least.
fn elsewhere(lease: Duration) -> u64 {
    micros_of(lease * 102 / 100)
}

impl World<'_> {
    /// The leader lets itself be heard.
    pub fn beats(&mut self, id: usize) {
        let mono = self.mono(id);
        let process = self.process(id);
        let period = process.timing.heartbeat.as_micros() as u64;
        let silent = process.leading.as_ref().is_none_or(|it| it.transferring);
        self.set(id, mono + period, Timer::Beat);
        if !silent {
            self.round(id, false);
        }
    }

    /// Sends what each one lacks.
    pub fn replicates(&mut self, id: usize) {
        self.round(id, true);
    }

    fn round(&mut self, id: usize, with_log: bool) {
        let sent = self.mono(id);
        let member = &self.members[id - 1];
        let ballot = member.ballot;
        let others = member.voters().all() & !bit(id);
        let mut suffix: Option<(usize, Rc<[Entry]>)> = None;
        for to in members(others) {
            let member = &self.members[id - 1];
            let process = member.process.as_ref().expect("looked at before");
            let Some(leading) = &process.leading else {
                return;
            };
            let matched = leading.matched[to];
            let entries = match &suffix {
                _ if !with_log => Rc::from([]),
                Some((from, entries)) if *from == matched => entries.clone(),
                _ => Rc::from(&member.log[matched..]),
            };
            suffix = Some((matched, entries.clone()));
            let append = Append {
                ballot,
                previous: member.log_id(matched),
                entries,
                commit: process.commit,
                sent,
                lease: process.tracker.lease(),
                answered: false,
            };
            self.send(id, to, Body::Append(append));
        }
    }

    /// Whether a heartbeat is answered on arrival, before consensus has it.
    pub fn answers(&mut self, from: usize, id: usize, append: &Append, arrived: u64) -> bool {
        let tracker = &self.process(id).tracker;
        let (ballot, lease) = (append.ballot, append.lease);
        if !append.entries.is_empty() || !tracker.answers(ballot, instant(arrived), lease) {
            return false;
        }
        self.supports(from, id, arrived, lease);
        // It says nothing about the log.
        self.appended_to(from, id, append, Outcome::Heard);
        true
    }

    pub fn append(&mut self, from: usize, id: usize, append: Append, arrived: u64) {
        let outcome = self.takes(id, &append);
        let refused = matches!(outcome, Outcome::Higher(_));
        if append.answered {
            if refused {
                self.process(id).tracker.doubts(append.ballot);
            }
            return;
        }
        if !refused {
            let mono = self.mono(id);
            let tracker = &self.process(id).tracker;
            tracker.accepted(append.ballot, instant(arrived), instant(mono));
            self.supports(from, id, arrived, append.lease);
        }
        self.appended_to(from, id, &append, outcome);
    }

    fn supports(&mut self, from: usize, id: usize, arrived: u64, lease: Duration) {
        let supported = &mut self.process(id).supported[from];
        let end = arrived + elsewhere(lease);
        *supported = end.max(supported.unwrap_or(0)).into();
    }

    fn appended_to(&mut self, from: usize, id: usize, append: &Append, outcome: Outcome) {
        let appended = Appended {
            ballot: append.ballot,
            sent: append.sent,
            lease: append.lease,
            outcome,
            with_log: !append.entries.is_empty(),
        };
        self.send(id, from, Body::Appended(appended));
    }

    fn takes(&mut self, id: usize, append: &Append) -> Outcome {
        if append.ballot < self.members[id - 1].ballot {
            return Outcome::Higher(self.members[id - 1].ballot);
        }
        self.adopts(id, append.ballot);
        let member = &mut self.members[id - 1];
        let process = member.process.as_mut().expect("looked at before");
        process.campaign = None;
        let previous = append.previous.2;
        if member.log.len() < previous || member.log_id(previous) != append.previous {
            return Outcome::Conflict;
        }
        let mut matches = previous;
        for entry in append.entries.iter() {
            if member.log.get(matches).is_some_and(|own| own != entry) {
                member.log.truncate(matches);
            }
            if member.log.len() == matches {
                member.log.push(*entry);
            }
            matches += 1;
        }
        let process = member.process.as_mut().expect("looked at before");
        process.commit = process.commit.max(append.commit.min(matches));
        Outcome::Matches(matches)
    }

    pub fn appended(&mut self, from: usize, id: usize, answer: Appended) {
        if let Outcome::Higher(ballot) = answer.outcome {
            if ballot > self.members[id - 1].ballot {
                self.adopts(id, ballot);
            }
            return;
        }
        let member = &mut self.members[id - 1];
        let voters = member.voters();
        let process = member.process.as_mut().expect("looked at before");
        let Some(leading) = process.leading.as_mut() else {
            return;
        };
        if member.ballot != answer.ballot {
            return;
        }
        leading.acked[from] = leading.acked[from].max(Some(answer.sent));
        let until = member.clocks.boot_at(answer.sent) + micros_of(answer.lease);
        leading.until[from] = leading.until[from].max(Some(until));
        match answer.outcome {
            Outcome::Matches(upto) => leading.matched[from] = leading.matched[from].max(upto),
            Outcome::Heard => {}
            _ => leading.matched[from] = 0,
        }
        let behind = leading.matched[from] < member.log.len();
        let matched = leading.matched;
        let length = member.log.len();
        let reached = voters.reached(|voter| match voter == id {
            true => Some(length as u64),
            false => Some(matched[voter] as u64),
        });
        let reached = reached.unwrap_or(0) as usize;
        let own = member.log_id(reached);
        let process = member.process.as_mut().expect("looked at before");
        if reached > process.commit && (own.0, own.1) == (member.ballot.term, id) {
            process.commit = reached;
        }
        // One request for one answer, or they would become more and more.
        if behind {
            self.catches_up(id, from);
        }
    }

    fn catches_up(&mut self, id: usize, to: usize) {
        let sent = self.mono(id);
        let member = &self.members[id - 1];
        let process = member.process.as_ref().expect("looked at before");
        let Some(leading) = &process.leading else {
            return;
        };
        let matched = leading.matched[to];
        let append = Append {
            ballot: member.ballot,
            previous: member.log_id(matched),
            entries: Rc::from(&member.log[matched..]),
            commit: process.commit,
            sent,
            lease: process.tracker.lease(),
            answered: false,
        };
        self.send(id, to, Body::Append(append));
    }

    /// Applies what is committed; a leader's change of voters goes on to its second half.
    pub fn applies(&mut self, id: usize) {
        loop {
            let member = &mut self.members[id - 1];
            let process = member.process.as_mut().expect("looked at before");
            if process.applied >= process.commit.min(member.log.len()) {
                return;
            }
            process.applied += 1;
            let index = process.applied;
            let entry = member.log[index - 1];
            let command = match entry.what {
                What::Blank | What::Voters(_) => None,
                What::TakeOver { term } => Some(Command::TakeOver {
                    member: entry.leader as u64,
                    term,
                }),
                What::Release { epoch } => Some(Command::Release { epoch }),
            };
            let events: Vec<StateEvent> = match command {
                None => {
                    process.machine.mark_applied(index as u64);
                    Vec::new()
                }
                Some(command) => {
                    let (number, leader) = (index as u64, entry.leader as u64);
                    let applied = process.machine.apply(number, entry.term, leader, &command);
                    applied.1
                }
            };
            let leads = process.leading.is_some() && entry.leader == id;
            if let What::Voters(Voters { old, new }) = entry.what
                && leads
                && old != new
            {
                self.appends(id, What::Voters(Voters { old: new, new }));
            }
            self.applied(id, index, entry, &events);
            self.ends(id, index, entry);
        }
    }

    /// What consensus publishes of itself, as the follower of its metrics takes it in.
    pub fn observes(&mut self, id: usize) {
        let mono = self.mono(id);
        let member = &mut self.members[id - 1];
        let voters = member.voters();
        let (ballot, commit) = (
            member.ballot,
            member.log_id(member.process.as_ref().map_or(0, |it| it.commit)),
        );
        let process = member.process.as_mut().expect("looked at before");
        process.observes = false;
        let own = (commit.0, commit.1) == (ballot.term, id) && commit.2 > 0;
        let alone = voters.all() == bit(id) && ballot.committed && ballot.member == id as u64;
        let acked = match alone {
            true => Some(mono),
            false => process.quorum_acked(id, voters, mono),
        };
        process.observed = Some((ballot, own, acked));
        self.renews(id);
        let process = self.process(id);
        let leader = ballot.committed.then_some(ballot.member);
        let acked = acked.map(instant);
        let now = instant(mono);
        process
            .tracker
            .observe(ballot.term, leader, own, acked, now);
    }

    /// The end of the lease that a quorum has really renewed.
    fn renews(&mut self, id: usize) {
        let boot = self.members[id - 1].clocks.boot(self.now);
        let member = &mut self.members[id - 1];
        let voters = member.voters();
        let process = member.process.as_mut().expect("looked at before");
        let own = boot + micros_of(process.tracker.lease());
        let Some(leading) = &process.leading else {
            return;
        };
        let until = voters.reached(|voter| match voter == id {
            true => Some(own),
            false => leading.until[voter],
        });
        process.renewed = process.renewed.max(until);
    }

    /// After whatever happened at a member: what follows from it.
    pub fn settles(&mut self, id: usize) {
        if self.members[id - 1].process.is_none() {
            return;
        }
        self.applies(id);
        let mono = self.mono(id);
        let member = &self.members[id - 1];
        let process = member.process.as_ref().expect("looked at before");
        let commit = member.log_id(process.commit);
        let own = (commit.0, commit.1) == (member.ballot.term, id) && commit.2 > 0;
        let acked = process.quorum_acked(id, member.voters(), mono);
        self.renews(id);
        let member = &self.members[id - 1];
        let process = member.process.as_ref().expect("looked at before");
        let news = match process.observed {
            // The only voter needs no answers.
            Some((ballot, was, Some(at))) if member.voters().all() == bit(id) => {
                (ballot, was) != (member.ballot, own) || mono > at + ALONE
            }
            seen => seen != Some((member.ballot, own, acked)),
        };
        if news && !process.observes {
            match self.history.lag_us {
                0 => self.observes(id),
                lag => {
                    let lag = self.draw(&[4, id as u64, self.now], lag);
                    self.process(id).observes = true;
                    self.set(id, mono + lag, Timer::Observe);
                }
            }
        }
        self.deaths(id);
        self.reigns(id);
    }
}

const _: () = assert!(SLOTS < 8, "a set of members is one byte");
