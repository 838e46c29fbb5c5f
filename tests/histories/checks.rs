//! What must hold, whatever happens. The world knows the true time, every disk and every page.

use std::fmt;

use quorate_raft::decision_harness::HarnessBallot;
use quorate_state as state;
use quorate_supervisor::decision_core::{BootInstant, TargetState};

use crate::{
    clocks::boot_instant,
    group::{Entry, SLOTS, Voters, What},
    history::Time,
    world::World,
};

/// The rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Two logs differ where both are committed: the group of this test is wrong.
    OneLog,
    /// Epochs grow, and each is the index of a `TakeOver` of its own leader and term.
    EpochsGrow,
    /// No two hold one epoch.
    OneHolder,
    /// While a connector that only the lease fences acts, no page lets an older epoch act.
    OneAtATime,
    /// Nobody acts, or may act, beyond the lease that a quorum has really renewed.
    NoLongerThanTheLease,
    /// Once a release is applied, no page grants that epoch or an earlier one.
    ReleasedForGood,
    /// A vote leaves out no lease that its voter had a part in.
    VotesTellAll,
    /// What one member alone sees of a link changes no term.
    OneLinkIsNoDeath,
}

/// What was broken, and how.
#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: Rule,
    pub how: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.how)
    }
}

/// What has happened, as far as the rules need it, and how often what is worth testing did.
#[derive(Default)]
pub struct Book {
    pub violation: Option<Violation>,
    committed: Vec<Entry>,
    epochs: Vec<(u64, u64)>,
    released: u64,
    /// Who has taken a member for dead since it was elected, or did not know yet that it was.
    pub suspected: [u8; SLOTS + 1],
    /// In which term each was elected last.
    pub elected: [u64; SLOTS + 1],
    pub takeovers: u64,
    pub releases: u64,
    pub unknown: u64,
    pub acted: u64,
    pub deaths: u64,
    pub joint: u64,
}

impl Book {
    fn breaks(&mut self, rule: Rule, how: String) {
        self.violation.get_or_insert(Violation { rule, how });
    }
}

impl World<'_> {
    /// A member has applied an entry.
    pub fn applied(&mut self, id: usize, index: usize, entry: Entry, events: &[state::StateEvent]) {
        let book = &mut self.book;
        if let Some(first) = book.committed.get(index - 1) {
            if *first != entry {
                let how = format!("at {index} member {id} applies {entry:?}, another {first:?}");
                book.breaks(Rule::OneLog, how);
            }
            return;
        }
        book.committed.push(entry);
        book.joint +=
            u64::from(matches!(entry.what, What::Voters(Voters { old, new }) if old != new));
        for event in events {
            match event {
                state::StateEvent::TakenOver { holder, epoch } => {
                    let process = self.members[id - 1].process.as_ref();
                    let reign = *process.expect("it has applied").machine.state().reign();
                    let own = What::TakeOver { term: entry.term };
                    let last = book.epochs.last().copied().unwrap_or_default();
                    let grows = reign.epoch > last.0 && reign.epoch == index as u64;
                    if !grows || entry.what != own || *holder != entry.leader as u64 {
                        let how = format!(
                            "{:?} gives member {holder} epoch {} ({epoch}) after {}",
                            entry, reign.epoch, last.0
                        );
                        book.breaks(Rule::EpochsGrow, how);
                    }
                    book.epochs.push((reign.epoch, *holder));
                    book.takeovers += 1;
                    self.tell(|| format!("member {holder} has epoch {epoch}"));
                    return;
                }
                state::StateEvent::Released { epoch } => {
                    let epoch = *epoch;
                    self.book.released = self.book.released.max(epoch);
                    self.book.releases += 1;
                    self.tell(|| format!("epoch {epoch} is released"));
                    for other in 1..=self.members.len() {
                        if let Some(lets) = self.lets_act(other).filter(|lets| *lets <= epoch) {
                            let how = format!(
                                "epoch {epoch} is released while member {other} may act under {lets}"
                            );
                            self.book.breaks(Rule::ReleasedForGood, how);
                        }
                    }
                    return;
                }
                _ => {}
            }
        }
    }

    /// A page was renewed.
    pub fn granted(&mut self, id: usize, epoch: u64, deadline: BootInstant) {
        if epoch <= self.book.released {
            let how = format!("member {id} is let act under {epoch}, which is released");
            self.book.breaks(Rule::ReleasedForGood, how);
        }
        if self.truly_until(id).is_none_or(|until| deadline > until) {
            let how = format!("the page of member {id} holds for longer than a quorum said");
            self.book.breaks(Rule::NoLongerThanTheLease, how);
        }
    }

    /// The end of the lease that a quorum has really renewed.
    fn truly_until(&self, id: usize) -> Option<BootInstant> {
        let member = &self.members[id - 1];
        let process = member.process.as_ref()?;
        Some(boot_instant(process.renewed?))
    }

    /// The epoch under which this member's page lets its processes act now.
    fn lets_act(&self, id: usize) -> Option<u64> {
        let member = &self.members[id - 1];
        let process = member.process.as_ref()?;
        let held = process.page.holds(process.page.epoch, self.boot(id));
        (held && !member.clocks.asleep()).then_some(process.page.epoch)
    }

    /// Looks at all members at once.
    pub fn judge(&mut self) {
        let count = self.members.len();
        for id in 1..=count {
            let Some(process) = &self.members[id - 1].process else {
                continue;
            };
            let TargetState::Active(epoch) = process.stance else {
                continue;
            };
            if !process.page.holds(epoch, self.boot(id)) || self.members[id - 1].clocks.asleep() {
                continue;
            }
            self.book.acted += 1;
            let boot = boot_instant(self.members[id - 1].clocks.boot(self.now));
            if self.truly_until(id).is_none_or(|until| boot >= until) {
                let how = format!("member {id} acts under {epoch} though its lease is over");
                self.book.breaks(Rule::NoLongerThanTheLease, how);
            }
            for other in (1..=count).filter(|other| *other != id) {
                match self.lets_act(other) {
                    Some(same) if same == epoch => {
                        let how = format!("members {id} and {other} hold epoch {epoch}");
                        self.book.breaks(Rule::OneHolder, how);
                    }
                    Some(older) if older < epoch => {
                        let how = format!(
                            "member {id} acts under {epoch} while member {other} may under {older}"
                        );
                        self.book.breaks(Rule::OneAtATime, how);
                    }
                    _ => {}
                }
            }
        }
    }

    /// A vote was granted, and it is told that so much is left of others' leases.
    pub fn voted(&mut self, id: usize, candidate: usize, told: std::time::Duration) {
        let mono = self.mono(id);
        let supported = self.process(id).supported;
        let others = (1..supported.len()).filter(|leader| *leader != candidate);
        let latest = others.filter_map(|leader| supported[leader]).max();
        if let Some(until) = latest.filter(|until| *until > mono + told.as_micros() as u64) {
            let how = format!(
                "member {id} says that {told:?} is left of the leases it supported, not {}",
                Time(until - mono)
            );
            self.book.breaks(Rule::VotesTellAll, how);
        }
    }

    /// Somebody campaigns because this leader has died.
    pub fn died(&mut self, lost: HarnessBallot, voters: Voters) {
        let leader = lost.member as usize;
        self.book.deaths += 1;
        // Late, and told of an election that is over: nobody heeds it.
        if self.book.elected[leader] != lost.term {
            return;
        }
        let dead = self.members[leader - 1].process.is_none();
        let seen = self.book.suspected[leader].count_ones();
        if !dead && seen < 2 && voters.all().count_ones() > 2 {
            let how = format!("{seen} of the members takes member {leader} for dead");
            self.book.breaks(Rule::OneLinkIsNoDeath, how);
        }
    }
}
