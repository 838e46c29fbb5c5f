//! What a move does to the group.

use quorate_types::Timing;

use crate::{
    clocks::instant,
    group::{HandOver, Voters, What},
    history::Move,
    world::{Event, World},
};

impl World<'_> {
    /// Who that is, counted from the one that was elected last.
    fn who(&self, after: usize) -> usize {
        1 + (self.leader - 1 + after) % self.members.len()
    }

    /// A set of members, counted in the same way.
    fn set_of(&self, bits: u8) -> Vec<usize> {
        let all = 0..self.members.len();
        let chosen = all.filter(|after| bits & (1 << after) != 0);
        chosen.map(|after| self.who(after)).collect()
    }

    pub fn befalls(&mut self, what: Move) {
        let now = self.now;
        match what {
            Move::Cut {
                from,
                to,
                log_only,
                held,
                us,
            } => {
                let (from, to) = (self.who(from), self.who(to));
                self.links.cut(from, to, log_only, held, now + us);
            }
            Move::Isolate { member, held, us } => {
                let it = self.who(member);
                for other in 1..=self.members.len() {
                    self.links.cut(it, other, false, held, now + us);
                    self.links.cut(other, it, false, held, now + us);
                }
            }
            Move::Stuck { us } => {
                for (a, b) in (1..=self.members.len()).flat_map(|a| (1..a).map(move |b| (a, b))) {
                    self.links.cut(a, b, true, true, now + us);
                    self.links.cut(b, a, true, true, now + us);
                }
            }
            Move::Late { from, to, us } => self.links.late(self.who(from), self.who(to), us),
            Move::Lose { from, to } => self.links.lose(self.who(from), self.who(to)),
            Move::Pause { member, us } => self.holds(member, us),
            Move::Suspend { member, us } => {
                let it = self.who(member);
                if self.still(it).is_none() {
                    self.members[it - 1].clocks.sleep(now);
                    self.holds(member, us);
                }
            }
            Move::Kill {
                member,
                us,
                failover_ms,
            } => {
                let it = self.who(member);
                if self.members[it - 1].process.is_some() {
                    self.members[it - 1].failover_ms = failover_ms;
                    self.at(now + us, Event::Starts(it));
                    self.dies(it);
                }
            }
            Move::Stop {
                member,
                answers_us,
                us,
            } => {
                let it = self.who(member);
                let life = self.members[it - 1].life;
                if let Some(process) = &mut self.members[it - 1].process {
                    process.tracker.stopped();
                    self.at(now + answers_us, Event::Dies(it, life));
                    self.at(now + answers_us + us, Event::Starts(it));
                    self.settles(it);
                }
            }
            Move::Forge { at, us } => {
                let of = self.leader;
                for at in self.set_of(at).into_iter().filter(|at| *at != of) {
                    if self.still(at).is_some() {
                        continue;
                    }
                    self.forged(at, of);
                    self.at(
                        now + us,
                        Event::Told {
                            at,
                            of,
                            alive: true,
                        },
                    );
                }
            }
            Move::HandOver {
                to,
                drain_us,
                refused,
            } => {
                let (it, to) = (self.leader, self.who(to));
                let hand_over = HandOver {
                    to,
                    refused,
                    number: 0,
                    let_go: false,
                };
                if self.members[it - 1].process.is_some() && self.still(it).is_none() {
                    self.hands_over(it, hand_over, drain_us);
                    self.settles(it);
                }
            }
            Move::Doubt => self.doubt = true,
            Move::Write => {
                if self.still(self.leader).is_none() {
                    self.appends(self.leader, What::Blank);
                }
            }
            Move::Voters { set } => self.changes(set),
            Move::Impatience { member } => {
                let it = self.who(member);
                let up = self.members[it - 1].process.as_ref();
                if up.is_some_and(|it| it.leading.is_none()) && self.still(it).is_none() {
                    self.asks_before(it);
                    self.settles(it);
                }
            }
            Move::Wall { member, us } => {
                let it = self.who(member);
                self.members[it - 1].clocks.wall += us;
            }
            Move::Promise {
                member,
                failover_ms,
            } => {
                let it = self.who(member);
                let now = instant(self.mono(it));
                let member = &mut self.members[it - 1];
                member.failover_ms = failover_ms;
                if let Some(process) = &mut member.process {
                    process.timing = Timing::from_failover_ms(failover_ms).expect("of the list");
                    process.tracker.set_timing(process.timing.into(), now);
                    self.settles(it);
                }
            }
        }
    }

    fn holds(&mut self, member: usize, us: u64) {
        let it = self.who(member);
        let until = (self.now + us).max(self.members[it - 1].still_until);
        self.members[it - 1].still_until = until;
        self.at(until, Event::Awake(it));
    }

    /// The leader is asked for other voters, itself always among them.
    fn changes(&mut self, set: u8) {
        let it = self.leader;
        let member = &self.members[it - 1];
        let (now, last) = (member.voters(), member.log.len());
        let settled = member.process.as_ref().is_some_and(|process| {
            process.leading.is_some() && process.commit == last && now.old == now.new
        });
        let chosen = self.set_of(set | 1).into_iter();
        let new = chosen.fold(0, |set, id| set | crate::group::bit(id));
        if settled && new != now.new && self.still(it).is_none() {
            self.appends(it, What::Voters(Voters { old: now.new, new }));
            self.settles(it);
        }
    }
}
