//! The reign: what `ReignDriver` and `SupervisorHandle` do around their deciders.

use std::{sync::LazyLock, time::Duration};

use quorate_planted::{Mutant, planted};
use quorate_supervisor::decision_core::{
    BootInstant, ConnectorKey, ConnectorSpec, PlacementInputs, ProposalOutcome, ReleaseProposal,
    TakeoverDecision, TargetState,
};

use crate::{
    clocks::{boot_instant, instant, micros},
    group::{Entry, HandOver, Proposal, What, bit},
    world::{Timer, World},
};

/// A channel that only the lease fences.
static BY_LEASE: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    key: ConnectorKey {
        kind: "amqp_channel",
        name: "orders".into(),
    },
    active: true,
    unusable: None,
    created: 1,
    restarted: 0,
    warm: true,
    settings: Default::default(),
    service: Some("store".into()),
    drain_timeout: Duration::from_secs(1),
    concurrency_max: 1,
    in_order: false,
    fenced_by_broker: false,
    management: None,
});

/// How long processes that don't finish draining are waited for, beyond their drain.
const REAPED: Duration = Duration::from_secs(2);

/// How soon an outcome that nobody is told is given up.
const DOUBT: u64 = 1_000;

impl World<'_> {
    /// What the lease is held against.
    pub fn boot(&self, id: usize) -> BootInstant {
        let clocks = &self.members[id - 1].clocks;
        let boot = clocks.boot(self.now);
        boot_instant(match planted(Mutant::WallClockLease) {
            true => (boot as i64 + clocks.wall).max(0) as u64,
            false => boot,
        })
    }

    /// Looks again where leadership or reign is news.
    pub fn reigns(&mut self, id: usize) {
        let process = self.process(id);
        let now = (process.tracker.current(), *process.machine.state().reign());
        if process.seen != Some(now) {
            self.looks(id);
        }
    }

    pub fn reign_timer(&mut self, id: usize, due: u64) {
        if self.process(id).look_at == Some(due) {
            self.process(id).look_at = None;
            self.looks(id);
        }
    }

    fn looks(&mut self, id: usize) {
        let (mono, boot) = (self.mono(id), self.boot(id));
        let now = instant(mono);
        let process = self.process(id);
        process.offsets.add(now, boot);
        let leadership = process.tracker.current();
        let reign = *process.machine.state().reign();
        process.seen = Some((leadership, reign));
        process.takeover.mark_drained(process.rested);
        let decision = process.takeover.decide(now, &leadership, &reign);
        // The page first: a release says that it lets nobody act.
        let lease_end = self.acts(id, &decision, leadership.lease, boot);
        if let Some(term) = decision.propose {
            self.proposes(id, What::TakeOver { term });
        }
        if let Some(ReleaseProposal { term, epoch, from }) = decision.release {
            let due = from.map_or(mono, micros).max(mono);
            self.tell(|| format!("member {id} lets go of epoch {epoch}"));
            self.set(id, due, Timer::Release(epoch, term));
        }
        let process = self.process(id);
        if process.hand_over.is_some() && !process.takeover.is_releasing() {
            self.set(id, mono, Timer::Resume);
        }
        let again = decision.look_again.map(micros);
        let lease_end = lease_end.map(|left| mono + left.as_micros() as u64 + 1);
        if let Some(at) = [again, lease_end].into_iter().flatten().min() {
            self.looks_at(id, at.max(mono + 1));
        }
        self.stands(id);
    }

    /// The loop looks again at this time, if not before.
    fn looks_at(&mut self, id: usize, at: u64) {
        let mono = self.mono(id);
        let process = self.process(id);
        // One that comes earlier sets the next.
        if process
            .look_at
            .is_none_or(|known| at < known || known <= mono)
        {
            process.look_at = Some(at);
            self.set(id, at, Timer::Reign);
        }
    }

    /// `ReignDriver::update_lease`.
    fn acts(
        &mut self,
        id: usize,
        decision: &TakeoverDecision,
        lease: Duration,
        boot: BootInstant,
    ) -> Option<Duration> {
        let process = self.process(id);
        let granted = decision.act.and_then(|act| {
            let grant = act.grant(lease, &process.offsets, boot)?;
            let granted = process.page.grant(act.epoch, grant.deadline);
            granted.then_some((act, grant))
        });
        if decision.act.is_none() {
            process.page.revoke();
        }
        let last = process.page.epoch;
        process.standing = process.standing.after(decision, granted.is_some(), last);
        if let Some((act, grant)) = granted {
            self.granted(id, act.epoch, grant.deadline);
        }
        granted.map(|(_, grant)| grant.left)
    }

    /// The target state of the process of a channel.
    pub fn stands(&mut self, id: usize) {
        let mono = self.mono(id);
        let voter = self.members[id - 1].voters().all() & bit(id) != 0;
        let process = self.process(id);
        let acted = matches!(process.stance, TargetState::Active(_));
        if acted && !process.standing.reigns() {
            process.acted_until = Some(mono);
        }
        let situation = PlacementInputs {
            channels_drained: true,
            reign_status: process.standing,
            voter,
            prepared: process.timing.failover,
            acted_until: process.acted_until.map(instant),
        };
        let (stance, again) = situation.target_state(&BY_LEASE, true, instant(mono));
        let news = process.stance != stance;
        process.stance = stance;
        if let Some(again) = again.map(micros).filter(|_| news) {
            self.set(id, again.max(mono + 1), Timer::Stand);
        }
        if news {
            self.tell(|| format!("member {id} is to {stance:?}"));
        }
        self.judge();
    }

    fn proposes(&mut self, id: usize, what: What) {
        let mono = self.mono(id);
        let appended = self.appends(id, what);
        self.proposed += 1;
        let number = self.proposed;
        let patience = (self.process(id).timing.failover * 2).as_micros() as u64;
        let doubt = std::mem::take(&mut self.doubt);
        match appended {
            Some((index, entry)) => {
                self.tell(|| format!("member {id} proposes {what:?} at {index}"));
                let proposal = Proposal {
                    number,
                    index,
                    entry,
                };
                self.process(id).proposals.push(proposal);
                let due = mono + if doubt { DOUBT } else { patience };
                self.set(id, due, Timer::Unknown(number));
            }
            None => self.outcome(id, what, ProposalOutcome::Refused),
        }
    }

    /// An entry was applied: whoever waits for one at its index learns what came of it.
    pub fn ends(&mut self, id: usize, index: usize, entry: Entry) {
        let process = self.process(id);
        let ended: Vec<Proposal> = process
            .proposals
            .extract_if(.., |it| it.index == index)
            .collect();
        for proposal in ended {
            let outcome = match proposal.entry == entry {
                true => ProposalOutcome::Applied,
                false => ProposalOutcome::Refused,
            };
            self.outcome(id, proposal.entry.what, outcome);
        }
    }

    pub fn unknown(&mut self, id: usize, number: u64) {
        let process = self.process(id);
        let open = process.proposals.iter().position(|it| it.number == number);
        if let Some(at) = open {
            let what = process.proposals.swap_remove(at).entry.what;
            self.book.unknown += 1;
            self.tell(|| format!("member {id} does not learn what became of {what:?}"));
            self.outcome(id, what, ProposalOutcome::Unknown);
        }
    }

    fn outcome(&mut self, id: usize, what: What, outcome: ProposalOutcome) {
        let mono = self.mono(id);
        let process = self.process(id);
        match what {
            What::TakeOver { term } => process.takeover.ended(instant(mono), term, outcome),
            What::Release { epoch } => process.takeover.released(epoch),
            What::Blank | What::Voters(_) => return,
        }
        self.looks_at(id, mono + 1);
    }

    /// `SupervisorHandle::release`, for a transfer after it.
    pub fn hands_over(&mut self, id: usize, hand_over: HandOver, drain: u64) {
        let mono = self.mono(id);
        let process = self.process(id);
        if process.hand_over.is_some() || !process.tracker.current().leading {
            return;
        }
        let within = Duration::from_micros(drain);
        let until = instant(mono) + within + REAPED;
        let number = process.takeover.begin_release(within, until, false);
        process.hand_over = Some(HandOver {
            number,
            ..hand_over
        });
        let failover = process.timing.failover;
        self.set(id, mono + drain, Timer::Drained);
        let patience = (within + REAPED + failover * 3).as_micros() as u64;
        self.set(id, mono + patience, Timer::Resume);
        self.looks(id);
    }

    /// Every process stands by.
    pub fn rests(&mut self, id: usize) {
        let process = self.process(id);
        if let Some(hand_over) = process.hand_over {
            process.rested = hand_over.number;
            self.looks(id);
        }
    }

    pub fn releases(&mut self, id: usize, epoch: u64, term: u64) {
        let leads = self.process(id).tracker.current();
        match leads.leading && leads.term == term {
            true => self.proposes(id, What::Release { epoch }),
            false => self.outcome(id, What::Release { epoch }, ProposalOutcome::Refused),
        }
    }

    /// The reign was released, or nobody waits for that any longer: the transfer follows.
    pub fn resumes(&mut self, id: usize) {
        let mono = self.mono(id);
        let process = self.process(id);
        let failover = process.timing.failover.as_micros() as u64;
        let Some(hand_over) = process.hand_over.as_mut().filter(|it| !it.let_go) else {
            return;
        };
        hand_over.let_go = true;
        let HandOver { to, refused, .. } = *hand_over;
        if refused {
            return self.stays(id);
        }
        self.transfers(id, to);
        self.set(id, mono + failover, Timer::Stay);
    }

    /// The requester of the release is done with it.
    pub fn stays(&mut self, id: usize) {
        let process = self.process(id);
        if let Some(hand_over) = process.hand_over.take() {
            process.takeover.withdraw_release(hand_over.number);
            self.looks(id);
        }
    }
}
