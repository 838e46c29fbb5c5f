//! Messages between members, and what can become of them on the way.

use std::{rc::Rc, time::Duration};

use quorate_raft::decision_harness::HarnessBallot;
use quorate_types::ElectionReason;

use crate::{
    clocks::instant,
    group::{Entry, LogId, SLOTS},
    world::{Event, World},
};

pub struct Message {
    pub from: usize,
    pub to: usize,
    /// The processes that the connection is between.
    pub lives: (u32, u32),
    pub body: Body,
}

pub enum Body {
    Append(Append),
    Appended(Appended),
    Ask(Ask),
    Answer(Answer),
    /// The leader of this ballot asks this member to campaign.
    Hand(HarnessBallot, usize, LogId),
}

pub struct Append {
    pub ballot: HarnessBallot,
    pub previous: LogId,
    pub entries: Rc<[Entry]>,
    pub commit: usize,
    /// By the leader's clock.
    pub sent: u64,
    /// How long the leader may act from then on, if a quorum answers.
    pub lease: Duration,
    /// It was answered on arrival.
    pub answered: bool,
}

pub struct Appended {
    pub ballot: HarnessBallot,
    pub sent: u64,
    pub lease: Duration,
    pub outcome: Outcome,
    pub with_log: bool,
}

#[derive(Clone, Copy)]
pub enum Outcome {
    /// Up to this index the logs agree.
    Matches(usize),
    Conflict,
    /// A heartbeat, of which nothing but its arrival counts.
    Heard,
    Higher(HarnessBallot),
}

pub struct Ask {
    pub ballot: HarnessBallot,
    pub last: LogId,
    pub reason: ElectionReason,
    pub pre: bool,
}

pub struct Answer {
    pub asked: HarnessBallot,
    pub granted: bool,
    pub ballot: HarnessBallot,
    /// What a granted vote tells of leases.
    pub told: Duration,
    pub reason: ElectionReason,
    pub pre: bool,
}

impl Body {
    /// Whether it goes with the log, behind what goes before.
    fn with_log(&self) -> bool {
        match self {
            Body::Append(append) => !append.entries.is_empty(),
            Body::Appended(appended) => appended.with_log,
            _ => false,
        }
    }
}

/// A cut until then; what is held back comes after it.
#[derive(Clone, Copy, Default)]
struct Cut {
    until: u64,
    held: bool,
}

/// The state of one direction.
#[derive(Clone, Copy, Default)]
pub struct Link {
    /// Of heartbeats and votes, and of the log.
    cut: [Cut; 2],
    /// When the last message arrives: what goes through one connection stays in order.
    last: [u64; 2],
    late: Option<u64>,
    lose: bool,
    sent: u64,
}

#[derive(Default)]
pub struct Links([[Link; SLOTS + 1]; SLOTS + 1]);

impl Links {
    pub fn cut(&mut self, from: usize, to: usize, log_only: bool, held: bool, until: u64) {
        let link = &mut self.0[from][to];
        for cut in &mut link.cut[usize::from(log_only)..] {
            *cut = Cut {
                until: until.max(cut.until),
                held,
            };
        }
    }

    pub fn late(&mut self, from: usize, to: usize, us: u64) {
        self.0[from][to].late = Some(us);
    }

    pub fn lose(&mut self, from: usize, to: usize) {
        self.0[from][to].lose = true;
    }

    pub fn is_cut(&self, from: usize, to: usize, now: u64) -> bool {
        self.0[from][to].cut[0].until > now
    }
}

impl World<'_> {
    pub fn send(&mut self, from: usize, to: usize, body: Body) {
        let lives = (self.members[from - 1].life, self.members[to - 1].life);
        let lane = usize::from(body.with_log());
        let sent = self.links.0[from][to].sent;
        let drawn = self.draw(&[1, from as u64, to as u64, sent], 2_048);
        let link = &mut self.links.0[from][to];
        link.sent += 1;
        if std::mem::take(&mut link.lose) {
            return;
        }
        // Most are quick, some are not.
        let latency = match drawn % 16 {
            0 => 300 + drawn * 4,
            _ => 200 + drawn / 2,
        };
        let cut = link.cut[lane];
        let at = match cut.until > self.now {
            true if !cut.held => return,
            true => cut.until + latency,
            false => self.now + latency,
        };
        let at = match link.late.take() {
            // Of a connection of its own, it holds nothing up.
            Some(us) => at + us,
            None => {
                link.last[lane] = at.max(link.last[lane]);
                link.last[lane]
            }
        };
        let message = Message {
            from,
            to,
            lives,
            body,
        };
        self.at(at, Event::Arrives(Box::new(message)));
    }

    pub fn arrives(&mut self, message: Box<Message>) {
        let (from, to) = (message.from, message.to);
        let member = &self.members[to - 1];
        if member.process.is_none() || member.life != message.lives.1 {
            return;
        }
        if self.members[from - 1].life != message.lives.0
            && !matches!(message.body, Body::Append(_))
        {
            return;
        }
        if let Some(until) = self.still(to) {
            return self.at(until, Event::Arrives(message));
        }
        let mono = self.mono(to);
        let mut message = message;
        if let Body::Append(append) = &mut message.body {
            let lease = append.lease;
            let member = &mut self.members[to - 1];
            member.longest = lease.max(member.longest);
            append.answered = self.answers(from, to, append, mono);
            if !append.answered {
                let tracker = &self.process(to).tracker;
                tracker.arrived(append.ballot, instant(mono), lease);
            }
        }
        if self.history.lag_us == 0 {
            return self.handles(*message, mono);
        }
        let lag = self.draw(&[2, to as u64, self.now], self.history.lag_us);
        let now = self.now;
        let process = self.process(to);
        process.handles_from = process.handles_from.max(now + lag);
        let at = process.handles_from;
        self.at(at, Event::Handle(message, mono));
    }

    pub fn handles(&mut self, message: Message, arrived: u64) {
        let Message {
            from,
            to,
            lives,
            body,
        } = message;
        let member = &self.members[to - 1];
        if member.process.is_none() || member.life != lives.1 {
            return;
        }
        match body {
            Body::Append(append) => self.append(from, to, append, arrived),
            Body::Appended(appended) => self.appended(from, to, appended),
            Body::Ask(ask) => self.asked(from, to, ask),
            Body::Answer(answer) => self.answered(from, to, answer),
            Body::Hand(ballot, heir, last) => self.handed(to, ballot, heir, last),
        }
        self.settles(to);
    }
}
