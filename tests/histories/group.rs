//! The group: hosts, what is on their disks, and the processes with their deciders.

use std::{collections::BTreeSet, time::Duration};

use quorate_raft::decision_harness::{HarnessBallot, HarnessProbe, HarnessTracker};
use quorate_state::Machine;
use quorate_supervisor::decision_core::{
    BootInstant, ClockOffsets, Reign, ReignStatus, TakeoverPolicy, TargetState,
};
use quorate_types::Timing;

use crate::clocks::{Clocks, instant};

/// No group here has more members, and ids begin with 1.
pub const SLOTS: usize = 6;

/// The voters, a bit for each; `new` is what they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voters {
    pub old: u8,
    pub new: u8,
}

pub fn bit(member: usize) -> u8 {
    1 << member
}

impl Voters {
    pub fn all(self) -> u8 {
        self.old | self.new
    }

    pub fn quorum(self, granted: u8) -> bool {
        let of = |set: u8| (set & granted).count_ones() * 2 > set.count_ones();
        of(self.old) && of(self.new)
    }

    /// As the deciders want it.
    pub fn sets(self) -> Vec<BTreeSet<u64>> {
        let set = |bits: u8| members(bits).map(|id| id as u64).collect();
        match self.old == self.new {
            true => vec![set(self.old)],
            false => vec![set(self.old), set(self.new)],
        }
    }

    /// The greatest value that a quorum has reached.
    pub fn reached(self, value: impl Fn(usize) -> Option<u64> + Copy) -> Option<u64> {
        let of = |set: u8| {
            let mut all = [None; SLOTS + 2];
            let mut count = 0;
            for id in members(set) {
                all[count] = value(id);
                count += 1;
            }
            let all = &mut all[..count];
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.get(count / 2).copied().flatten()
        };
        of(self.old).min(of(self.new))
    }
}

pub fn members(bits: u8) -> impl Iterator<Item = usize> {
    (1..=SLOTS).filter(move |id| bits & bit(*id) != 0)
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Blank,
    TakeOver { term: u64 },
    Release { epoch: u64 },
    Voters(Voters),
}

/// An entry, by the leader that appended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub term: u64,
    pub leader: usize,
    pub what: What,
}

/// As logs are compared: term, leader, index.
pub type LogId = (u64, usize, usize);

/// A member: its host and its disk. What is appended is on it at once.
pub struct Member {
    pub clocks: Clocks,
    /// True time until which its process, or its host, stands still.
    pub still_until: u64,
    /// Counts its processes.
    pub life: u32,
    pub failover_ms: u64,
    pub ballot: HarnessBallot,
    /// The longest lease that it has supported.
    pub longest: Duration,
    pub log: Vec<Entry>,
    pub process: Option<Process>,
}

impl Member {
    /// The membership in effect: the last in its log.
    pub fn voters(&self) -> Voters {
        let of = |entry: &Entry| match entry.what {
            What::Voters(voters) => Some(voters),
            _ => None,
        };
        let none = Voters { old: 0, new: 0 };
        self.log.iter().rev().find_map(of).unwrap_or(none)
    }

    /// The id of the entry with this index; of none before the first.
    pub fn log_id(&self, index: usize) -> LogId {
        match index.checked_sub(1).and_then(|at| self.log.get(at)) {
            Some(entry) => (entry.term, entry.leader, index),
            None => (0, 0, 0),
        }
    }

    pub fn last(&self) -> LogId {
        self.log_id(self.log.len())
    }
}

/// A leader's state, as consensus keeps it.
pub struct Leading {
    /// When the latest request to each was sent that it has answered, by the leader's clock.
    pub acked: [Option<u64>; SLOTS + 1],
    pub matched: [usize; SLOTS + 1],
    /// Until when the latest lease runs that each has supported, by the other clock.
    pub until: [Option<u64>; SLOTS + 1],
    /// From then on it takes no writes and sends no heartbeats.
    pub transferring: bool,
}

/// What a candidate has so far.
pub struct Campaign {
    pub ballot: HarnessBallot,
    pub granted: u8,
    /// Whether it only asks whether it would be elected.
    pub pre: bool,
}

/// A proposal whose outcome is not known yet.
pub struct Proposal {
    pub number: u64,
    pub index: usize,
    pub entry: Entry,
}

/// A member's process, with the deciders in it.
pub struct Process {
    pub timing: Timing,
    // Consensus, in the abstract.
    /// Until when a lease of each leader can run that was supported with an answer.
    pub supported: [Option<u64>; SLOTS + 1],
    pub draw: u64,
    pub leading: Option<Leading>,
    pub campaign: Option<Campaign>,
    pub commit: usize,
    pub applied: usize,
    pub handles_from: u64,
    pub observed: Option<(HarnessBallot, bool, Option<u64>)>,
    pub observes: bool,
    // Real.
    pub tracker: HarnessTracker,
    pub lines: [HarnessProbe; SLOTS + 1],
    pub takeover: TakeoverPolicy,
    pub offsets: ClockOffsets,
    pub machine: Machine,
    // State around the real ones, as `ReignDriver` and `election::early_election` keep it.
    pub office: Option<(HarnessBallot, u8)>,
    pub stood: Option<HarnessBallot>,
    pub page: Page,
    pub standing: ReignStatus,
    pub seen: Option<(quorate_types::Leadership, Reign)>,
    pub look_at: Option<u64>,
    /// The number of the release for which its processes are drained.
    pub rested: u64,
    pub acted_until: Option<u64>,
    pub stance: TargetState,
    pub proposals: Vec<Proposal>,
    pub hand_over: Option<HandOver>,
    /// The end of the lease that a quorum has really renewed, by CLOCK_BOOTTIME.
    pub renewed: Option<u64>,
}

/// An orderly end of the reign, for a transfer.
#[derive(Clone, Copy)]
pub struct HandOver {
    pub to: usize,
    pub refused: bool,
    /// The number of the release, once it has begun.
    pub number: u64,
    /// Whether the release is over, and the transfer begun.
    pub let_go: bool,
}

impl Process {
    pub fn new(id: usize, failover_ms: u64, longest: Duration, mono: u64) -> Process {
        let timing = Timing::from_failover_ms(failover_ms).expect("one of the list");
        let patience = (timing.failover * 4).max(Duration::from_secs(1));
        Process {
            timing,
            supported: [None; SLOTS + 1],
            draw: 0,
            leading: None,
            campaign: None,
            commit: 0,
            applied: 0,
            handles_from: 0,
            observed: None,
            observes: false,
            tracker: HarnessTracker::new(
                id as u64,
                timing,
                longest.max(timing.lease),
                instant(mono),
            ),
            lines: Default::default(),
            takeover: TakeoverPolicy::new(id as u64, patience),
            offsets: ClockOffsets::default(),
            machine: Machine::default(),
            office: None,
            stood: None,
            page: Page::default(),
            standing: ReignStatus::default(),
            seen: None,
            look_at: None,
            rested: 0,
            acted_until: None,
            stance: TargetState::Stopped(Duration::ZERO),
            proposals: Vec::new(),
            hand_over: None,
            renewed: None,
        }
    }

    /// When the last round was sent that a quorum has answered.
    pub fn quorum_acked(&self, me: usize, voters: Voters, mono: u64) -> Option<u64> {
        let leading = self.leading.as_ref()?;
        voters.reached(|id| match id == me {
            true => Some(mono),
            false => leading.acked[id],
        })
    }
}

/// The lease page's rules without its memory: `quorate_ipc::lease::LeaseWriter`.
#[derive(Default)]
pub struct Page {
    pub epoch: u64,
    pub deadline: Option<BootInstant>,
}

impl Page {
    pub fn grant(&mut self, epoch: u64, deadline: BootInstant) -> bool {
        if epoch < self.epoch {
            return false;
        }
        (self.epoch, self.deadline) = (epoch, Some(deadline));
        true
    }

    pub fn revoke(&mut self) {
        self.deadline = None;
    }

    pub fn holds(&self, epoch: u64, now: BootInstant) -> bool {
        let left = self.deadline.and_then(|until| until.remaining(now));
        let always = quorate_planted::planted(quorate_planted::Mutant::LeaseCheckRemoved);
        always && epoch != 0 || self.epoch == epoch && left.is_some()
    }
}
