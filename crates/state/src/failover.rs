//! Failover promise of the cluster: the one number from which every member's timers follow.
//!
//! A lease is safe because every voter stands by its leader for longer than the leader's lease
//! runs. The members learn of another value one after the other, so from one moment to the next
//! there are members that go by either. A change therefore has two steps:
//!
//! 1. `SetFailover` gives the target. As long as the change is under way each member that knows of
//!    it grants leases by the smaller of the value before and the target, and waits for a silent
//!    leader by the larger. A member that does not know of it yet goes by the value before for
//!    both. So no lease is longer than that value, and no patience shorter.
//! 2. Each member proposes `FailoverApplied` once it goes by both, no lease that it granted before
//!    outlives the target, and it would still go by both after a restart. Once every member has
//!    done so, no lease is longer than the *target* either, and no patience shorter: the leader
//!    proposes `FailoverSettled`, and from there on each member goes by the target alone, again one
//!    after the other.
//!
//! So at any moment there is one value that is at least as long as every lease in force and at most
//! as long as every patience. A member that does not answer holds up the second step, for as long
//! as it takes, and no work.
//!
//! A change may be replaced by another while it is under way: the value before stays what it was,
//! since nobody has gone on from it, and every member has to confirm that it has applied the new
//! target. Back to the value before is settled at once, because all members go by it all the time.
//! The state does not know the list of members: the leader does, and a newcomer is given the values
//! in force after it has become a member (see `server/failover.rs`).

use imbl::OrdSet;

use super::{Answer, MemberId};

/// Promise as of one log index, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverPromise {
    /// Value that is promised once the change is settled.
    pub target_ms: u64,
    /// Value that was promised before, while not all members have applied the target.
    pub former_ms: Option<u64>,
    /// Log index at which the target was set.
    pub revision: u64,
    /// Members that have confirmed that they have applied it; empty when it is settled.
    pub applied: OrdSet<MemberId>,
}

impl FailoverPromise {
    /// Returns the value by which leases are granted.
    pub fn lease_ms(&self) -> u64 {
        self.former_ms.unwrap_or(self.target_ms).min(self.target_ms)
    }

    /// Returns the value by which a silent leader is waited for.
    pub fn patience_ms(&self) -> u64 {
        self.former_ms.unwrap_or(self.target_ms).max(self.target_ms)
    }

    /// Returns true when no change is under way.
    pub fn is_settled(&self) -> bool {
        self.former_ms.is_none()
    }

    fn unchanged(&self) -> Answer {
        Answer::Done {
            revision: self.revision,
            changed: false,
            created: false,
        }
    }
}

/// Begins a change. `first`: only where nothing has been promised yet.
pub(super) fn set(
    promise: &mut Option<FailoverPromise>,
    index: u64,
    target_ms: u64,
    first: bool,
) -> Answer {
    let former_ms = match promise {
        Some(before) if first || before.target_ms == target_ms => return before.unchanged(),
        // Everybody goes by the value before, whatever else has been asked for since.
        Some(before) => Some(before.former_ms.unwrap_or(before.target_ms)),
        None => None,
    };
    let created = promise.is_none();
    *promise = Some(FailoverPromise {
        target_ms,
        former_ms: former_ms.filter(|former| *former != target_ms),
        revision: index,
        applied: OrdSet::new(),
    });
    Answer::done(index, created)
}

/// Notes that a member has applied the target that was set at `revision`.
pub(super) fn applied(
    promise: &mut Option<FailoverPromise>,
    index: u64,
    member: MemberId,
    revision: u64,
) -> Answer {
    match under_way(promise, revision) {
        Ok(promise) if promise.applied.contains(&member) => promise.unchanged(),
        Ok(promise) => {
            promise.applied.insert(member);
            Answer::done(index, false)
        }
        Err(answer) => answer,
    }
}

/// Notes that every member has applied the target that was set at `revision`.
pub(super) fn settled(promise: &mut Option<FailoverPromise>, index: u64, revision: u64) -> Answer {
    match under_way(promise, revision) {
        Ok(promise) => {
            promise.former_ms = None;
            promise.applied = OrdSet::new();
            Answer::done(index, false)
        }
        Err(answer) => answer,
    }
}

fn under_way(
    promise: &mut Option<FailoverPromise>,
    revision: u64,
) -> Result<&mut FailoverPromise, Answer> {
    match promise {
        Some(promise) if promise.revision == revision && !promise.is_settled() => Ok(promise),
        _ => Err(Answer::Ignored(format!(
            "no change of the promise that began at revision {revision} is under way"
        ))),
    }
}

#[cfg(test)]
mod tests;
