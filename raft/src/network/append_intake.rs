//! Intake of appends: what is on disk and with the tracker before openraft sees one.

use std::{sync::Arc, time::Duration};

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use parking_lot::Mutex;
use quorate_clock::Instant;
use tonic::Status;

use crate::{
    ballot::ElectionBallot,
    consensus::ConsensusHandle,
    storage::{LongestLease, raft_types::Types},
};

/// Intake of what leaders send to this member.
pub(crate) struct AppendIntake {
    consensus: Arc<ConsensusHandle>,
    longest: LongestLease,
    /// Time since which openraft has had a heartbeat that is answered already, while it has one.
    pending_heartbeat_since: Mutex<Option<Instant>>,
}

impl AppendIntake {
    pub(crate) fn new(consensus: Arc<ConsensusHandle>, longest: LongestLease) -> Self {
        AppendIntake {
            consensus,
            longest,
            pending_heartbeat_since: Mutex::default(),
        }
    }

    /// Takes in that an append or snapshot of a leader arrived at `at`, with this lease. Must
    /// have returned before openraft sees it.
    pub(super) async fn arrived(
        &self,
        ballot: ElectionBallot,
        at: Instant,
        lease: Duration,
    ) -> Result<(), Status> {
        self.persist_lease_length(lease, at).await?;
        self.consensus.tracker.arrived(ballot, at, lease);
        Ok(())
    }

    /// Takes a heartbeat that can be answered at once as accepted, and hands it to openraft
    /// behind the answer; returns it where it can't.
    pub(super) async fn answer_heartbeat(
        self: &Arc<Self>,
        heartbeat: AppendEntriesRequest<Types>,
        at: Instant,
        lease: Duration,
    ) -> Result<Option<AppendEntriesRequest<Types>>, Status> {
        self.persist_lease_length(lease, at).await?;
        let ballot = ElectionBallot::from(&heartbeat.vote);
        if self.keeps_heartbeat(at) || !self.consensus.tracker.answers(ballot, at, lease) {
            return Ok(Some(heartbeat));
        }
        self.forward_heartbeat(heartbeat, at);
        Ok(None)
    }

    /// Writes to disk that a lease may be so long, unless the disk has that.
    async fn persist_lease_length(&self, lease: Duration, at: Instant) -> Result<(), Status> {
        let covered = self.longest.cover(lease, at).await;
        covered.map_err(|e| Status::unavailable(format!("the lease can't be written down: {e}")))
    }

    /// Returns whether openraft has kept a heartbeat for so long that it does not take anything
    /// down.
    fn keeps_heartbeat(&self, now: Instant) -> bool {
        let most = self.consensus.timing().patience.failover;
        let since = *self.pending_heartbeat_since.lock();
        since.is_some_and(|since| now.saturating_duration_since(since) > most)
    }

    /// Gives openraft a heartbeat that is answered already, unless it has another of them: it
    /// may wait for the disk with it, and the next ones say no less.
    fn forward_heartbeat(self: &Arc<Self>, heartbeat: AppendEntriesRequest<Types>, at: Instant) {
        {
            let mut since = self.pending_heartbeat_since.lock();
            if since.is_some() {
                return;
            }
            *since = Some(at);
        }
        let intake = self.clone();
        tokio::spawn(async move {
            let ballot = ElectionBallot::from(&heartbeat.vote);
            let answer = intake.consensus.raft.append_entries(heartbeat).await;
            if !matches!(answer, Ok(AppendEntriesResponse::Success)) {
                intake.consensus.tracker.doubts(ballot);
            }
            *intake.pending_heartbeat_since.lock() = None;
        });
    }
}
