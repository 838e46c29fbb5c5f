//! Budget of memory for all proposals that are under way at a leader.
//!
//! openraft keeps an entry until it is applied or discarded, whatever its caller does
//! meanwhile: where the disk has stopped, or a quorum is gone, callers leave at their
//! deadlines and come again, and their entries pile up. So the room that a proposal takes
//! is given back by openraft's answer and by nothing else.

use std::sync::Arc;

use openraft::{alias::OneshotReceiverOf, raft::ClientWriteResult};
use quorate_clock::Instant;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};

use crate::storage::raft_types::Types;

/// Bytes for the commands of all proposals that are under way at a member.
const BUDGET_BYTES: usize = 64 << 20;
/// Bytes that a proposal takes at least, so that there are at most [`BUDGET_BYTES`] /
/// [`UNIT_BYTES`] of them.
const UNIT_BYTES: usize = 4 << 10;

/// Receiver of openraft's answer.
pub(super) type WriteReceiver = OneshotReceiverOf<Types, ClientWriteResult<Types>>;

/// Room that is left, in units of [`UNIT_BYTES`].
pub(crate) struct ProposalBudget {
    left: Arc<Semaphore>,
    /// Room to wait in, as much again: a command that waits is in memory, too.
    waiting: Arc<Semaphore>,
}

impl ProposalBudget {
    pub(super) fn new() -> Self {
        let all = || Arc::new(Semaphore::new(BUDGET_BYTES / UNIT_BYTES));
        ProposalBudget {
            left: all(),
            waiting: all(),
        }
    }

    /// Takes room for a command of so many bytes; `None` if there is none before the deadline,
    /// or not even room to wait.
    pub(super) async fn take(&self, bytes: usize, deadline: Instant) -> Option<ProposalPermit> {
        let units = u32::try_from(bytes / UNIT_BYTES + 1).unwrap_or(u32::MAX);
        if let Ok(held) = self.left.clone().try_acquire_many_owned(units) {
            return Some(ProposalPermit { _held: held });
        }
        let _place = self.waiting.try_acquire_many(units).ok()?;
        let taking = self.left.clone().acquire_many_owned(units);
        let held = timeout_at(deadline, taking).await.ok()?.ok()?;
        Some(ProposalPermit { _held: held })
    }
}

/// Room of one proposal.
pub(super) struct ProposalPermit {
    _held: OwnedSemaphorePermit,
}

impl ProposalPermit {
    /// Leaves the room to openraft, until its answer.
    pub(super) fn entrust(self, written: WriteReceiver) -> InFlightProposal {
        InFlightProposal(Some((self, written)))
    }
}

/// Proposal that openraft has, or is about to get.
pub(super) struct InFlightProposal(Option<(ProposalPermit, WriteReceiver)>);

impl InFlightProposal {
    /// Waits for the answer; `None` if openraft ended without one.
    pub(super) async fn answer(mut self) -> Option<ClientWriteResult<Types>> {
        let (_, written) = self.0.as_mut()?;
        let answer = written.await.ok();
        self.0 = None;
        answer
    }
}

impl Drop for InFlightProposal {
    /// Keeps the room taken where the caller has given up: openraft has the entry still.
    fn drop(&mut self) {
        if let Some((permit, written)) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                let _ = written.await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openraft::type_config::TypeConfigExt;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn only_so_many_bytes_are_under_way() {
        let room = ProposalBudget::new();
        let mut held = Vec::new();
        while let Some(permit) = room.take(MIB, soon()).await {
            held.push(permit);
        }
        assert_eq!(held.len(), 63, "of 1 MiB and a unit each");
        // What is small still fits, and what is large waits for its turn.
        assert!(room.take(1000, soon()).await.is_some());
        let deadline = Instant::now() + Duration::from_secs(30);
        let (taken, ()) = tokio::join!(room.take(MIB, deadline), async { drop(held.pop()) });
        assert!(taken.is_some());
    }

    #[tokio::test]
    async fn waiting_takes_room_as_well() {
        let room = ProposalBudget::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        let _all = room
            .take(BUDGET_BYTES - UNIT_BYTES, deadline)
            .await
            .unwrap();
        let waiting = room.take(BUDGET_BYTES - UNIT_BYTES, deadline);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(room.take(MIB, deadline).await.is_none(), "refused at once");
    }

    /// A caller that leaves takes nothing with it.
    #[tokio::test]
    async fn room_is_free_once_openraft_answers() {
        let room = ProposalBudget::new();
        let all = room.take(BUDGET_BYTES - UNIT_BYTES, soon()).await.unwrap();
        let (lets_go, written) = Types::oneshot();
        drop(all.entrust(written));
        tokio::task::yield_now().await;
        assert!(
            room.take(MIB, soon()).await.is_none(),
            "given back too early"
        );
        drop(lets_go);
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(room.take(MIB, deadline).await.is_some(), "never given back");
    }
}
