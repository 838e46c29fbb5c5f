//! The keeper of the failover promise: it has this member follow the cluster's, and every change.
//!
//! The argument why a change is safe is at [`quorate_state::FailoverPromise`]; it rests on what a
//! member does before it reports that it has applied a target:
//!
//! - it goes by the new timing;
//! - the timing is recorded in the data folder ([`LocalFailoverRecord`]), and the member begins
//!   with it after a restart, before it has applied anything again;
//! - if its leases have become shorter, every longer one that it granted before is over.
//!
//! A record is never taken back for an older state: a member that restarts restores an
//! older snapshot first, and comes to the change that it has applied before only later.
//!
//! The leader checks by its own membership that all members have reported. A member that is
//! admitted after that check begins with the values in force after its admission, which are those
//! of this change or of a later one: see `admin/join.rs`.

mod record;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use imbl::OrdMap;
use metrics::gauge;
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_types::{MemberId, ProposeError, Timing};
use tokio::time::sleep_until;

pub(super) use record::LocalFailoverRecord;

use quorate_state::{AnnouncedProgram, Answer, Command, FailoverPromise, State};

use crate::cluster::ClusterHandle;

/// The pause after a proposal that failed, or a record that could not be written.
const PAUSE: Duration = Duration::from_millis(200);

/// The report that a member owes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReportDue {
    Nothing,
    /// A lease that the member granted before the change runs until then.
    At(Instant),
    Now,
}

/// A member's part in a change: the values that it goes by, and the report that it may send.
#[derive(Clone, Debug)]
struct MemberFailover {
    me: MemberId,
    /// The values that the member goes by.
    record: LocalFailoverRecord,
    /// The end of the last lease that is longer than those that the member grants now.
    leases_over: Option<Instant>,
}

impl MemberFailover {
    fn new(me: MemberId, record: LocalFailoverRecord) -> Self {
        MemberFailover {
            me,
            record,
            leases_over: None,
        }
    }

    /// Takes over the values of `promise`. Returns true if the member goes by other values from now
    /// on.
    fn follow(&mut self, promise: &FailoverPromise, now: Instant) -> bool {
        let next = LocalFailoverRecord::from_promise(promise);
        if promise.revision < self.record.revision || next == self.record {
            return false;
        }
        if next.lease_ms < self.record.lease_ms {
            let over = now + self.record.timing().lease.lease;
            self.leases_over = self.leases_over.max(Some(over));
        }
        self.record = next;
        true
    }

    /// Returns true if the member may report that it has applied `promise`, its record being
    /// written.
    fn due(&self, promise: &FailoverPromise, now: Instant) -> ReportDue {
        let goes_by_it = promise.revision == self.record.revision;
        if promise.is_settled() || promise.applied.contains(&self.me) || !goes_by_it {
            return ReportDue::Nothing;
        }
        match self.leases_over {
            Some(over) if over > now => ReportDue::At(over),
            _ => ReportDue::Now,
        }
    }
}

/// The parts of the state whose change wakes the keeper; most writes change none of them.
type FailoverInputs = (
    Option<FailoverPromise>,
    OrdMap<MemberId, std::sync::Arc<AnnouncedProgram>>,
);

fn failover_inputs(state: &State) -> FailoverInputs {
    (
        state.failover().cloned(),
        state.announced_programs().clone(),
    )
}

/// The task that keeps a member at the promise.
pub(super) struct FailoverKeeper {
    pub cluster: ClusterHandle,
    pub data_dir: PathBuf,
    /// The values with which this member has begun.
    pub record: LocalFailoverRecord,
    /// The value of the member's own settings, given or default: for the first member of a cluster.
    pub failover_ms: u64,
}

impl FailoverKeeper {
    /// Runs for as long as the member does.
    pub(super) async fn keep(self) {
        let mut member = MemberFailover::new(self.cluster.node().id(), self.record);
        let mut written = None;
        let mut differing = BTreeMap::new();
        let mut states = self.cluster.watch_state();
        let mut leadership = self.cluster.node().leadership();
        let mut members = self.cluster.node().watch_members();
        if planted(Mutant::PromiseByMember) {
            self.apply_pace(member.record);
        }
        loop {
            let now = failover_inputs(&states.borrow_and_update());
            let leads = leadership.borrow_and_update().leading;
            members.borrow_and_update();
            self.report_differing(&now, &mut differing);
            let again = match &now.0 {
                Some(promise) => {
                    if member.follow(promise, Instant::now()) {
                        self.apply_pace(member.record);
                    }
                    self.advance(promise, &member, &mut written, leads).await
                }
                None if leads => self.begin().await,
                None => None,
            };
            let wake = sleep_until(again.unwrap_or_else(Instant::now));
            tokio::select! {
                changed = states.wait_for(|state| failover_inputs(state) != now) => if changed.is_err() { return },
                changed = leadership.wait_for(|now| now.leading != leads) => if changed.is_err() { return },
                changed = members.changed() => if changed.is_err() { return },
                () = wake, if again.is_some() => {}
            }
        }
    }

    /// Has this member go by the timing of a record from now on.
    fn apply_pace(&self, record: LocalFailoverRecord) {
        let timing = match Timing::from_failover_ms(self.failover_ms) {
            Ok(own) if planted(Mutant::PromiseByMember) => own.into(),
            _ => record.timing(),
        };
        self.cluster.node().set_timing(timing);
    }

    /// Takes one step of a change, if there is one. Returns when to look again.
    async fn advance(
        &self,
        promise: &FailoverPromise,
        member: &MemberFailover,
        written: &mut Option<LocalFailoverRecord>,
        leads: bool,
    ) -> Option<Instant> {
        if *written != Some(member.record) {
            let (record, dir) = (member.record, self.data_dir.clone());
            let writing = tokio::task::spawn_blocking(move || record.write(&dir)).await;
            match writing {
                Ok(Ok(())) => *written = Some(member.record),
                failed => {
                    tracing::error!(
                        ?failed,
                        "the failover promise in force can't be recorded in the data folder"
                    );
                    return Some(Instant::now() + PAUSE);
                }
            }
        }
        let revision = promise.revision;
        match member.due(promise, Instant::now()) {
            ReportDue::Nothing => {}
            ReportDue::At(at) => return Some(at),
            ReportDue::Now => {
                let me = self.cluster.node().id();
                let applied = Command::FailoverApplied {
                    member: me,
                    revision,
                };
                let deadline = self.cluster.write_deadline();
                let outcome = self.cluster.propose(applied, deadline).await;
                return self.retry_at(outcome);
            }
        }
        let all = || {
            let members = self.cluster.node().members();
            members.iter().all(|it| promise.applied.contains(&it.id))
        };
        if leads && !promise.is_settled() && all() {
            return self
                .propose_in_term(Command::FailoverSettled { revision })
                .await;
        }
        None
    }

    /// Proposes the promise of the first member of a cluster, as its settings name it.
    async fn begin(&self) -> Option<Instant> {
        self.propose_in_term(Command::SetFailover {
            failover_ms: self.failover_ms,
            first: true,
        })
        .await
    }

    async fn propose_in_term(&self, command: Command) -> Option<Instant> {
        let term = self.cluster.node().leadership().borrow().term;
        let deadline = self.cluster.write_deadline();
        let outcome = self.cluster.propose_in_term(term, command, deadline).await;
        self.retry_at(outcome)
    }

    /// Proposes the report in the member's term. Reporting twice changes nothing, so it may be
    /// repeated after any outcome. The applied report shows in the state, which wakes this task.
    fn retry_at(&self, outcome: Result<(u64, Answer), ProposeError>) -> Option<Instant> {
        match outcome {
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "a step of the failover promise was not taken yet");
                Some(Instant::now() + PAUSE)
            }
        }
    }

    /// Logs which members' own settings name another promise than the cluster's, when that changes.
    fn report_differing(
        &self,
        (promise, announced): &FailoverInputs,
        reported: &mut BTreeMap<MemberId, u64>,
    ) {
        let Some(promise) = promise else { return };
        let differing: BTreeMap<MemberId, u64> = announced
            .iter()
            .filter_map(|(member, announced)| Some((*member, announced.failover_ms?)))
            .filter(|(_, theirs)| *theirs != promise.target_ms)
            .collect();
        let members = self.cluster.node().members();
        for member in members {
            let name = member.member.name;
            let differs = differing.get(&member.id);
            gauge!("quorate_failover_ms_differs", "member" => name.clone())
                .set(f64::from(u8::from(differs.is_some())));
            if let Some(theirs) = differs.filter(|_| reported.get(&member.id) != differs) {
                tracing::warn!(
                    member = name,
                    settings = theirs,
                    cluster = promise.target_ms,
                    "a member's settings name another failover_ms than the cluster's, which counts"
                );
            }
        }
        *reported = differing;
    }
}

#[cfg(test)]
mod tests;
