//! True time, and what happens when: the queue of events.

use std::{cmp::Ordering, collections::BinaryHeap, time::Duration};

use quorate_raft::decision_harness::HarnessBallot;

use crate::{
    chance::drawn,
    checks::{Book, Violation},
    clocks::Clocks,
    group::{Entry, Member, Process, SLOTS, Voters, What},
    history::{History, Time},
    links::{Links, Message},
};

/// What happens at a member when its own clock says so.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    Beat,
    Election,
    Observe,
    /// The reign's loop looks again.
    Reign,
    /// A process' target state may change.
    Stand,
    /// A proposal's outcome is told as unknown.
    Unknown(u64),
    /// What was in flight has finished.
    Drained,
    /// `Release {epoch}` may be proposed, in this term.
    Release(u64, u64),
    /// Nobody waits any longer for the reign to be released.
    Resume,
    /// The transfer has ended, however it did.
    Stay,
    /// A voter campaigns, or asks again, because this leader has died. Until then.
    Office(HarnessBallot, u64),
    /// A transfer of this term came to nothing, to this member.
    Recover(u64, usize),
    /// The member campaigns, in this term.
    StandAgain(u64),
}

pub enum Event {
    Move(usize),
    Arrives(Box<Message>),
    /// What had arrived at that time gets its turn.
    Handle(Box<Message>, u64),
    /// At a member's process, when its clock stands there.
    Timer(usize, u32, u64, Timer),
    /// A host is awake again, or a process goes on.
    Awake(usize),
    Dies(usize, u32),
    Starts(usize),
    /// The kernel tells `at` of the end, or the beginning, of `of`'s process.
    Told {
        at: usize,
        of: usize,
        alive: bool,
    },
}

struct Due {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// A history under way.
pub struct World<'h> {
    pub now: u64,
    pub history: &'h History,
    pub members: Vec<Member>,
    pub links: Links,
    pub book: Book,
    /// Who was elected last.
    pub leader: usize,
    pub doubt: bool,
    pub proposed: u64,
    /// What happened, in words, where somebody wants to read it.
    pub tale: Option<Vec<String>>,
    queue: BinaryHeap<Due>,
    number: u64,
    end: u64,
}

/// How long a history goes on after its last move, in promises of its first member.
const AFTER: u64 = 2;

/// No history has so many events.
const MANY: u64 = 1_000_000;

impl<'h> World<'h> {
    pub fn new(history: &'h History, told: bool) -> World<'h> {
        let count = history.hosts.len();
        let voters = (1..=history.voters).fold(0, |set, id| set | crate::group::bit(id));
        let birth = Entry {
            term: 0,
            leader: 0,
            what: What::Voters(Voters {
                old: voters,
                new: voters,
            }),
        };
        let members = history.hosts.iter().enumerate().map(|(n, host)| Member {
            clocks: Clocks::new(n as u64 + 1, host.ppm),
            still_until: 0,
            life: 0,
            failover_ms: host.failover_ms,
            ballot: HarnessBallot::default(),
            longest: Duration::ZERO,
            log: match n < history.voters {
                true => vec![birth],
                false => Vec::new(),
            },
            process: None,
        });
        let mut world = World {
            now: 0,
            history,
            members: members.collect(),
            links: Links::default(),
            book: Book::default(),
            leader: 1,
            doubt: false,
            proposed: 0,
            tale: told.then(Vec::new),
            queue: BinaryHeap::new(),
            number: 0,
            end: 0,
        };
        assert!(count < SLOTS);
        (1..=count).for_each(|id| world.starts(id));
        let mut at = 50_000;
        for (n, (gap, _)) in history.moves.iter().enumerate() {
            at += gap;
            world.at(at, Event::Move(n));
        }
        world.end = at + history.hosts[0].failover_ms * 1_000 * AFTER;
        world
    }

    /// Lives it through.
    pub fn run(mut self) -> (Result<(), Violation>, Book, Vec<String>) {
        let first = 1 + (self.history.seed as usize) % self.history.voters;
        self.campaigns(first, 1, false);
        let mut verdict = Ok(());
        while let Some(due) = self.queue.pop().filter(|due| due.at <= self.end) {
            self.now = due.at;
            assert!(self.number < MANY, "no end of events: {}", self.history);
            self.happens(due.event);
            if let Some(violation) = self.book.violation.take() {
                self.tell(|| format!("VIOLATION: {violation}"));
                verdict = Err(violation);
                break;
            }
        }
        (verdict, self.book, self.tale.unwrap_or_default())
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Move(n) => {
                let what = self.history.moves[n].1;
                self.tell(|| format!("* {what}"));
                self.befalls(what);
            }
            Event::Arrives(message) => self.arrives(message),
            Event::Handle(message, arrived) => {
                let to = message.to;
                match self.still(to) {
                    Some(until) => self.at(until, Event::Handle(message, arrived)),
                    None => self.handles(*message, arrived),
                }
            }
            Event::Timer(id, life, due, timer) => self.timer(id, life, due, timer),
            Event::Awake(id) => self.awakes(id),
            Event::Dies(id, life) => {
                if self.members[id - 1].life == life {
                    self.dies(id);
                }
            }
            Event::Starts(id) => self.starts(id),
            Event::Told { at, of, alive } => match self.still(at) {
                Some(until) => self.at(until, Event::Told { at, of, alive }),
                None => self.told(at, of, alive),
            },
        }
    }

    fn timer(&mut self, id: usize, life: u32, due: u64, timer: Timer) {
        let member = &self.members[id - 1];
        if member.life != life || member.process.is_none() {
            return;
        }
        if let Some(until) = self.still(id) {
            return self.at(until, Event::Timer(id, life, due, timer));
        }
        let left = self.members[id - 1].clocks.until(due, self.now);
        if left > 0 {
            return self.at(self.now + left, Event::Timer(id, life, due, timer));
        }
        match timer {
            Timer::Beat => self.beats(id),
            Timer::Election => self.election(id),
            Timer::Observe => self.observes(id),
            Timer::Reign => self.reign_timer(id, due),
            Timer::Stand => self.stands(id),
            Timer::Unknown(number) => self.unknown(id, number),
            Timer::Drained => self.rests(id),
            Timer::Release(epoch, term) => self.releases(id, epoch, term),
            Timer::Resume => self.resumes(id),
            Timer::Stay => self.stays(id),
            Timer::Office(lost, until) => self.office(id, lost, until),
            Timer::Recover(term, target) => self.recovers(id, term, target),
            Timer::StandAgain(term) => self.stands_again(id, term),
        }
        self.settles(id);
    }

    /// Until when this member does nothing.
    pub fn still(&self, id: usize) -> Option<u64> {
        let until = self.members[id - 1].still_until;
        (until > self.now).then_some(until)
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        let number = self.number;
        self.queue.push(Due { at, number, event });
    }

    /// Sets a member's timer to a point on its own clock.
    pub fn set(&mut self, id: usize, due: u64, timer: Timer) {
        let member = &self.members[id - 1];
        let (life, at) = (member.life, self.now + member.clocks.until(due, self.now));
        self.at(at, Event::Timer(id, life, due, timer));
    }

    pub fn mono(&self, id: usize) -> u64 {
        self.members[id - 1].clocks.mono(self.now)
    }

    pub fn process(&mut self, id: usize) -> &mut Process {
        let process = self.members[id - 1].process.as_mut();
        process.expect("looked at before")
    }

    /// A number below `end` that is drawn for this moment alone.
    pub fn draw(&mut self, words: &[u64], end: u64) -> u64 {
        drawn(self.history.seed, words) % end.max(1)
    }

    pub fn starts(&mut self, id: usize) {
        let mono = self.mono(id);
        let member = &mut self.members[id - 1];
        if member.process.is_some() {
            return;
        }
        member.life += 1;
        // A leader that was restarted asks for votes.
        member.ballot.committed &= member.ballot.member != id as u64;
        member.process = Some(Process::new(id, member.failover_ms, member.longest, mono));
        let failover_ms = member.failover_ms;
        self.tell(|| format!("member {id} starts with a promise of {failover_ms} ms"));
        let first = self.now == 0;
        for other in (1..=self.members.len()).filter(|other| *other != id) {
            if self.members[other - 1].process.is_some() || first {
                let after = if first { 0 } else { 1_000 };
                let (to, from) = (other, id);
                self.at(
                    self.now + after,
                    Event::Told {
                        at: from,
                        of: to,
                        alive: true,
                    },
                );
                self.at(
                    self.now + after,
                    Event::Told {
                        at: to,
                        of: from,
                        alive: true,
                    },
                );
            }
        }
        self.set(id, mono, Timer::Election);
        self.set(id, mono, Timer::Beat);
        self.settles(id);
    }

    pub fn dies(&mut self, id: usize) {
        self.members[id - 1].process = None;
        self.tell(|| format!("member {id} is dead"));
        for other in (1..=self.members.len()).filter(|other| *other != id) {
            let after = 500 + self.draw(&[9, id as u64, other as u64, self.now], 4_000);
            self.at(
                self.now + after,
                Event::Told {
                    at: other,
                    of: id,
                    alive: false,
                },
            );
        }
    }

    fn awakes(&mut self, id: usize) {
        if self.still(id).is_none() {
            if self.members[id - 1].clocks.asleep() {
                self.members[id - 1].clocks.wake(self.now);
            }
            self.tell(|| format!("member {id} goes on"));
            // The first thing that is done is what was about to be done.
            self.judge();
        }
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(tale) = &mut self.tale {
            tale.push(format!("{:>12} {}", Time(self.now).to_string(), what()));
        }
    }
}
