//! How a member comes to life.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use openraft::{Config, SnapshotPolicy as LogPolicy};
use parking_lot::Mutex;
use quorate_clock::{Instant, id128};
use quorate_planted::{Mutant, planted};
use quorate_types::{MemberId, timing::FAILOVER_MS_MAX};
use tokio::{
    sync::{Semaphore, watch},
    task,
};
use tokio_util::sync::CancellationToken;

use super::{
    LeadershipTracker, MemberIdentity, Node, NodeInner, NodeOptions, NodeStartMode, RaftHandle,
    ShutdownHandles, StartError, background_tasks, heartbeat_sender,
    log_retention::{self, LogRetention},
    metered_machine::{LogGrowth, MeteredMachine},
    proposal_budget::ProposalBudget,
    timing_pressure::{self, PressureGauge},
    unreachable,
};
use crate::{
    StateMachine, election,
    liveness::{self, LivenessTable},
    membership,
    network::{MAX_INCOMING, PeerDialer, PeerDirectory, PeerLinkFactory, RoundTrips},
    storage::{self, FolderMarker, OpenedStorage},
};

/// The id of the member that bootstraps.
const FIRST: MemberId = 1;

/// How long openraft waits for an answer, in milliseconds: longer than any promise lets one take.
const OPENRAFT_ANSWER_MS: u64 = FAILOVER_MS_MAX / 6;

/// How long openraft would have patience, in milliseconds: longer than any promise asks for.
const OPENRAFT_ELECTION_MS: u64 = FAILOVER_MS_MAX / 3;

impl Node {
    /// Opens the data folder and starts. Peers reach it once [`Node::routes`] is served.
    pub async fn start(
        options: NodeOptions,
        birth: NodeStartMode,
        machine: impl StateMachine,
    ) -> Result<Node, StartError> {
        Node::start_through(options, birth, machine, None).await
    }

    /// [`Node::start`] with a say in where peers are dialled: tests put proxies in between.
    #[doc(hidden)]
    pub async fn start_through(
        options: NodeOptions,
        birth: NodeStartMode,
        machine: impl StateMachine,
        dial: Option<PeerDialer>,
    ) -> Result<Node, StartError> {
        #[cfg(feature = "mutants")]
        if let Some(mutant) = quorate_planted::which() {
            tracing::warn!(%mutant, "a bug is planted in this program: {}", mutant.what());
        }
        let growth = Arc::new(LogGrowth::new(options.snapshot.bytes.max(1)));
        let history = Arc::new(LogRetention::default());
        let (machine, applied) = MeteredMachine::new(machine, growth.clone(), history.clone());
        let dir = options.dir.clone();
        let wait = options.lock_wait;
        let open = move || storage::open(&dir, wait, Box::new(machine));
        let opened = task::spawn_blocking(open).await;
        let opened = opened.map_err(|e| StartError(format!("opening the data folder: {e}")))?;
        let mut opened = opened.map_err(|e| StartError(e.to_string()))?;
        let own = resolve_identity(&mut opened, birth, &options.dir)?;

        let config = Arc::new(config(&options, &own.cluster)?);
        let pace = watch::Sender::new(options.timing);
        let strain = Arc::new(PressureGauge::new(own.id, pace.subscribe()));
        let peers = Arc::new(PeerDirectory::new(&own.cluster, pace.subscribe(), dial));
        // A folder from before its first answer says nothing.
        let longest = opened.longest.kept().max(options.timing.lease.lease);
        let tracker = Arc::new(LeadershipTracker::new(
            own.id,
            pace,
            longest,
            strain.clone(),
            Instant::now(),
        ));
        let trips = Arc::new(RoundTrips::default());
        let links = PeerLinkFactory {
            peers: peers.clone(),
            tracker: tracker.clone(),
            history: history.clone(),
            trips: trips.clone(),
        };
        let failed = |e: &dyn std::fmt::Display| StartError(format!("consensus can't start: {e}"));
        let stats = opened.log.stats();
        let raft = RaftHandle::new(own.id, config, links, opened.log, opened.machine);
        let raft = raft.await.map_err(|e| failed(&e))?;
        if own.id == FIRST {
            // What a bootstrap that was cut short has not done yet: nothing was acknowledged.
            let initialized = raft.is_initialized().await.map_err(|e| failed(&e))?;
            if !initialized {
                let alone = BTreeMap::from([(FIRST, options.member.clone())]);
                raft.initialize(alone).await.map_err(|e| failed(&e))?;
            }
        }

        let inner = Arc::new(NodeInner {
            id: own.id,
            cluster: own.cluster,
            member: options.member,
            raft,
            tracker,
            peers,
            round_trips: trips,
            longest: opened.longest,
            liveness: LivenessTable::new(),
            proposal_budget: ProposalBudget::new(),
            incoming: Semaphore::new(MAX_INCOMING),
            pending_heartbeat_since: Mutex::default(),
            changes: tokio::sync::Mutex::new(()),
            members: watch::Sender::new(Vec::new()),
            pressure: strain,
            unreachable: watch::Sender::default(),
            applied,
            stats,
            closing: false.into(),
            cancel: CancellationToken::new(),
            shutdown_handles: Mutex::new(ShutdownHandles {
                tasks: Vec::new(),
                snapshots: Some(opened.snapshots),
                released: Some(opened.released),
            }),
        });
        inner.spawn(background_tasks::follow_raft_metrics(inner.clone()));
        inner.spawn(background_tasks::snapshot_on_growth(inner.clone(), growth));
        inner.spawn(log_retention::purge_behind_snapshots(
            inner.clone(),
            options.snapshot,
            history,
        ));
        inner.spawn(heartbeat_sender::send_heartbeats(inner.clone()));
        inner.spawn(election::run_election_timer(inner.clone()));
        inner.spawn(liveness::probe_all_peers(inner.clone()));
        inner.spawn(liveness::campaign_on_leader_death(inner.clone()));
        inner.spawn(unreachable::publish_unreachable(inner.clone()));
        inner.spawn(timing_pressure::watch_stalls(inner.pressure.clone()));
        inner.spawn(membership::seek_voter_role(inner.clone()));
        inner.spawn(membership::finish_membership_changes(inner.clone()));
        Ok(Node { inner })
    }
}

impl NodeInner {
    /// Runs `work` until it ends or this member is shut down.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        let task = tokio::spawn(async move {
            cancel.run_until_cancelled_owned(work).await;
        });
        self.shutdown_handles.lock().tasks.push(task);
    }
}

/// Makes out who this member is, and makes the folder its own.
fn resolve_identity(
    opened: &mut OpenedStorage,
    birth: NodeStartMode,
    dir: &Path,
) -> Result<MemberIdentity, StartError> {
    let dir = dir.display();
    let have = opened.marker.as_ref().map(|m| MemberIdentity {
        cluster: m.cluster.clone(),
        id: m.member,
    });
    let own = match (have, birth) {
        (None, NodeStartMode::Resume) => {
            return Err(StartError(format!(
                "the data folder {dir} does not belong to a cluster yet. Start with --bootstrap \
                 to form a new cluster, or with --join ADMIN_URL to join one"
            )));
        }
        (Some(have), NodeStartMode::Join(admission)) if have.cluster != admission.cluster => {
            return Err(StartError(format!(
                "the data folder {dir} belongs to member {} of cluster {}, but the cluster to \
                 join is {}; two clusters never merge. Give the new member a folder of its own, \
                 or start without --join to resume the old one",
                have.id, have.cluster, admission.cluster
            )));
        }
        (Some(have), _) => return Ok(have),
        (None, NodeStartMode::Bootstrap) => MemberIdentity {
            cluster: format!("{:032x}", id128()),
            id: FIRST,
        },
        (None, NodeStartMode::Join(admission)) => admission,
    };
    let marker = FolderMarker {
        cluster: own.cluster.clone(),
        member: own.id,
    };
    opened
        .claim_folder(marker)
        .map_err(|e| StartError(e.to_string()))?;
    Ok(own)
}

fn config(options: &NodeOptions, cluster: &str) -> Result<Config, StartError> {
    let config = Config {
        cluster_name: cluster.to_owned(),
        // Whatever goes by the promise is kept beside it: heartbeats and the silence of a
        // leader without a quorum by `beat`, elections and the patience of voters by
        // `election`, the answer's time by the network. Its own timers don't tick; what else
        // it does with their lengths is to take no writes as leader after `max` without a
        // quorum's answer, of which `propose` is ahead.
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        enable_pre_vote: Some(false),
        heartbeat_interval: OPENRAFT_ANSWER_MS,
        election_timeout_min: OPENRAFT_ELECTION_MS,
        election_timeout_max: OPENRAFT_ELECTION_MS + 1,
        quorum_loss_probe_interval: None,
        snapshot_policy: LogPolicy::LogsSinceLast(options.snapshot.entries.max(1)),
        // Purged by `history`, which knows who lags.
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: 1024,
        api_channel_size: Some(16 * 1024),
        notification_channel_size: Some(16 * 1024),
        // A leader that restarts has lost its leases and its reign; it asks for votes.
        enable_leader_restore: Some(false),
        // Without it openraft ends when it finds that what it took for done is not there: by a
        // `debug_assert!`, which the profile of this workspace keeps in. Where it is compiled
        // out the leader goes on and counts a follower for what that has lost.
        allow_log_reversion: planted(Mutant::QuorumOffByOne).then_some(true),
        ..Config::default()
    };
    config
        .validate()
        .map_err(|e| StartError(format!("the timers don't fit: {e}")))
}
