//! Start of a member: opens its data folder, starts openraft, and composes the parts.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use openraft::{Config, SnapshotPolicy as LogPolicy};
use quorate_clock::{Instant, id128};
use quorate_planted::{Mutant, planted};
use quorate_types::{Member, MemberId, timing::FAILOVER_MS_MAX};
use tokio::{
    sync::{Semaphore, watch},
    task,
};

use super::{
    AppliedIndex, LeaderTransfer, LeadershipTracker, LogProposer, MemberIdentity, Node, NodeInner,
    NodeOptions, NodeStartMode, ReadBarrier, ShutdownHandles, SnapshotPolicy, StartError,
    StartFault, UnreachableMonitor, background_tasks,
    heartbeat_sender::{self, HeartbeatSender},
    log_retention::{self, LogRetention},
    metered_machine::{LogGrowth, MeteredMachine},
    timing_pressure::{self, PressureGauge},
    unreachable,
};
use crate::{
    StateMachine,
    consensus::{ConsensusHandle, RaftHandle},
    election::{self, ElectionParticipant},
    liveness::{self, LivenessTable, PeerProber},
    membership::{self, MemberRegistry},
    network::{
        AppendIntake, CallerCheck, MAX_INCOMING, PeerDialer, PeerDirectory, PeerLinkFactory,
        PeerServer, RoundTrips,
    },
    storage::{
        self, FolderMarker, FolderRelease, LogCounters, LongestLease, OpenedStorage, SnapshotAccess,
    },
};

/// Id of the member that bootstraps.
const FIRST: MemberId = 1;

/// Time for which openraft waits for an answer, in milliseconds: longer than any failover
/// promise lets one take.
const OPENRAFT_ANSWER_MS: u64 = FAILOVER_MS_MAX / 6;

/// Time for which openraft would have patience, in milliseconds: longer than any failover
/// promise asks for.
const OPENRAFT_ELECTION_MS: u64 = FAILOVER_MS_MAX / 3;

/// Machine of a member, and what its meter reports to.
struct MachineMeter {
    growth: Arc<LogGrowth>,
    retention: Arc<LogRetention>,
    applied: AppliedIndex,
}

impl Node {
    /// Opens the data folder and starts. Peers reach it once [`Node::routes`] is served.
    pub async fn start(
        options: NodeOptions,
        mode: NodeStartMode,
        machine: impl StateMachine,
    ) -> Result<Node, StartError> {
        Node::start_through(options, mode, machine, None).await
    }

    /// Starts as [`Node::start`] does, and dials peers where `dial` says: tests put proxies in
    /// between.
    #[doc(hidden)]
    pub async fn start_through(
        options: NodeOptions,
        mode: NodeStartMode,
        machine: impl StateMachine,
        dial: Option<PeerDialer>,
    ) -> Result<Node, StartError> {
        #[cfg(feature = "mutants")]
        if let Some(mutant) = quorate_planted::which() {
            tracing::warn!(%mutant, "a bug is planted in this program: {}", mutant.what());
        }
        let (mut opened, meter) = open_storage(&options, machine).await?;
        let own = resolve_identity(&mut opened, mode, &options.dir)?;
        let config = Arc::new(config(&options, &own.cluster)?);
        let timing = watch::Sender::new(options.timing);
        let pressure = Arc::new(PressureGauge::new(own.id, timing.subscribe()));
        let tls = options.tls.clone();
        let peers = PeerDirectory::new(&own.cluster, timing.subscribe(), dial, tls);
        let peers = Arc::new(peers);
        // A folder from before its first answer has no length.
        let longest = opened.longest.kept().max(options.timing.lease.lease);
        let tracker = Arc::new(LeadershipTracker::new(
            own.id,
            timing,
            longest,
            pressure.clone(),
            Instant::now(),
        ));
        let round_trips = Arc::new(RoundTrips::default());
        let links = PeerLinkFactory {
            peers: peers.clone(),
            tracker: tracker.clone(),
            retention: meter.retention.clone(),
            round_trips: round_trips.clone(),
        };
        let stats = opened.log.stats();
        let OpenedStorage {
            log,
            machine,
            snapshots,
            longest,
            released,
            ..
        } = opened;
        let raft = RaftHandle::new(own.id, config, links, log, machine).await;
        let raft = raft.map_err(StartFault::Consensus)?;
        bootstrap_if_first(&raft, own.id, &options.member).await?;
        let consensus = Arc::new(ConsensusHandle::new(own.id, raft, tracker));
        let registry = MemberRegistry::new(consensus.clone(), peers.clone(), options.member);
        let parts = NodeParts {
            cluster: own.cluster,
            consensus,
            peers,
            registry: Arc::new(registry),
            longest,
            round_trips,
            pressure,
            stats,
            snapshots: Arc::new(SnapshotAccess::new(snapshots)),
            released,
            meter,
            has_tls: options.tls.is_some(),
        };
        Ok(parts.run(options.snapshot))
    }
}

/// Parts of a member from which the others are made.
struct NodeParts {
    cluster: String,
    consensus: Arc<ConsensusHandle>,
    peers: Arc<PeerDirectory>,
    registry: Arc<MemberRegistry>,
    longest: LongestLease,
    round_trips: Arc<RoundTrips>,
    pressure: Arc<PressureGauge>,
    stats: Arc<LogCounters>,
    snapshots: Arc<SnapshotAccess>,
    released: FolderRelease,
    meter: MachineMeter,
    has_tls: bool,
}

impl NodeParts {
    /// Makes the other parts and starts the tasks.
    fn run(self, policy: SnapshotPolicy) -> Node {
        let NodeParts {
            consensus,
            peers,
            registry,
            round_trips,
            snapshots,
            meter,
            ..
        } = &self;
        let liveness = Arc::new(LivenessTable::new());
        let participant = Arc::new(ElectionParticipant {
            consensus: consensus.clone(),
            peers: peers.clone(),
            liveness: liveness.clone(),
            members: registry.subscribe(),
        });
        let unreachable = Arc::new(UnreachableMonitor::new(
            consensus.clone(),
            liveness.clone(),
            round_trips.clone(),
            registry.subscribe(),
        ));
        let prober = PeerProber {
            me: consensus.id,
            members: registry.subscribe(),
            peers: peers.clone(),
            liveness: liveness.clone(),
        };
        let heartbeats = HeartbeatSender {
            consensus: consensus.clone(),
            round_trips: round_trips.clone(),
            members: registry.subscribe(),
        };
        let retention = log_retention::purge_behind_snapshots(
            consensus.clone(),
            snapshots.clone(),
            policy,
            meter.retention.clone(),
        );
        let (consensus, registry) = (consensus.clone(), registry.clone());
        let (growth, pressure) = (meter.growth.clone(), self.pressure.clone());
        let node = self.compose(&participant, liveness, unreachable.clone());
        let tasks = &node.inner.shutdown_handles;
        let metrics = background_tasks::follow_raft_metrics(consensus.clone(), registry.clone());
        tasks.spawn(metrics);
        tasks.spawn(background_tasks::snapshot_on_growth(consensus, growth));
        tasks.spawn(retention);
        tasks.spawn(heartbeat_sender::send_heartbeats(heartbeats));
        tasks.spawn(election::run_election_timer(participant.clone()));
        tasks.spawn(liveness::probe_all_peers(prober));
        tasks.spawn(election::campaign_on_leader_death(participant));
        tasks.spawn(unreachable::publish_unreachable(unreachable));
        tasks.spawn(timing_pressure::watch_stalls(pressure));
        tasks.spawn(membership::seek_voter_role(registry.clone()));
        tasks.spawn(membership::finish_membership_changes(registry));
        node
    }

    /// Composes the member.
    fn compose(
        self,
        participant: &Arc<ElectionParticipant>,
        liveness: Arc<LivenessTable>,
        unreachable: Arc<UnreachableMonitor>,
    ) -> Node {
        let NodeParts {
            consensus,
            peers,
            registry,
            meter,
            ..
        } = self;
        let applied = meter.applied;
        let proposer = LogProposer::new(consensus.clone(), peers.clone(), applied.clone());
        let proposer = Arc::new(proposer);
        let reads = Arc::new(ReadBarrier {
            consensus: consensus.clone(),
            peers: peers.clone(),
            applied: applied.clone(),
        });
        let transfer = Arc::new(LeaderTransfer {
            consensus: consensus.clone(),
            registry: registry.clone(),
            liveness,
            unreachable: unreachable.clone(),
        });
        let peer_server = PeerServer {
            cluster: self.cluster.clone(),
            callers: CallerCheck::new(self.has_tls, registry.subscribe()),
            consensus: consensus.clone(),
            intake: Arc::new(AppendIntake::new(consensus.clone(), self.longest)),
            participant: participant.clone(),
            proposer: proposer.clone(),
            reads: reads.clone(),
            members: registry.subscribe(),
            registry: registry.clone(),
            applied,
            snapshots: self.snapshots.clone(),
            incoming: Arc::new(Semaphore::new(MAX_INCOMING)),
        };
        let inner = NodeInner {
            cluster: self.cluster,
            consensus,
            peers,
            registry,
            proposer,
            reads,
            transfer,
            peer_server,
            round_trips: self.round_trips,
            pressure: self.pressure.subscribe(),
            unreachable,
            stats: self.stats,
            shutdown_handles: ShutdownHandles::new(self.snapshots, self.released),
        };
        Node {
            inner: Arc::new(inner),
        }
    }
}

/// Opens the data folder and restores the machine in it.
async fn open_storage(
    options: &NodeOptions,
    machine: impl StateMachine,
) -> Result<(OpenedStorage, MachineMeter), StartFault> {
    let growth = Arc::new(LogGrowth::new(options.snapshot.bytes.max(1)));
    let retention = Arc::new(LogRetention::default());
    let (machine, applied) = MeteredMachine::new(machine, growth.clone(), retention.clone());
    let dir = options.dir.clone();
    let wait = options.lock_wait;
    let open = move || storage::open(&dir, wait, Box::new(machine));
    let opened = task::spawn_blocking(open).await;
    let opened = opened.map_err(StartFault::Opening)??;
    let meter = MachineMeter {
        growth,
        retention,
        applied: AppliedIndex::new(applied),
    };
    Ok((opened, meter))
}

/// Finishes a bootstrap that was cut short, of which nothing was acknowledged, or begins it.
async fn bootstrap_if_first(
    raft: &RaftHandle,
    me: MemberId,
    member: &Member,
) -> Result<(), StartFault> {
    if me != FIRST {
        return Ok(());
    }
    let initialized = raft.is_initialized().await;
    if !initialized.map_err(StartFault::Consensus)? {
        let alone = BTreeMap::from([(FIRST, member.clone())]);
        let formed = raft.initialize(alone).await;
        formed.map_err(StartFault::Bootstrap)?;
    }
    Ok(())
}

/// Makes out which member this is, and makes the folder its own.
fn resolve_identity(
    opened: &mut OpenedStorage,
    mode: NodeStartMode,
    dir: &Path,
) -> Result<MemberIdentity, StartFault> {
    let dir = dir.to_owned();
    let have = opened.marker.as_ref().map(|m| MemberIdentity {
        cluster: m.cluster.clone(),
        id: m.member,
    });
    let own = match (have, mode) {
        (None, NodeStartMode::Resume) => return Err(StartFault::NoCluster { dir }),
        (Some(have), NodeStartMode::Join(admission)) if have.cluster != admission.cluster => {
            return Err(StartFault::OtherCluster {
                dir,
                have_cluster: have.cluster,
                have_member: have.id,
                want_cluster: admission.cluster,
            });
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
    opened.claim_folder(marker)?;
    Ok(own)
}

fn config(options: &NodeOptions, cluster: &str) -> Result<Config, StartFault> {
    let config = Config {
        cluster_name: cluster.to_owned(),
        // Whatever goes by the failover promise is kept beside openraft: heartbeats and the
        // silence of a leader without a quorum by `heartbeat_sender`, elections and the
        // patience of voters by `election`, the answer's time by the network. openraft's own
        // timers don't tick; what else it does with their lengths is to take no writes as
        // leader after `max` without a quorum's answer, of which `propose` is ahead.
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        enable_pre_vote: Some(false),
        heartbeat_interval: OPENRAFT_ANSWER_MS,
        election_timeout_min: OPENRAFT_ELECTION_MS,
        election_timeout_max: OPENRAFT_ELECTION_MS + 1,
        quorum_loss_probe_interval: None,
        snapshot_policy: LogPolicy::LogsSinceLast(options.snapshot.entries.max(1)),
        // Purged by `log_retention`, which knows the members that lag.
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: 1024,
        api_channel_size: Some(16 * 1024),
        notification_channel_size: Some(16 * 1024),
        // A leader that restarts has lost its leases and its reign; it asks for votes.
        enable_leader_restore: Some(false),
        // Without it openraft ends when it finds that what it took for done is not there: by a
        // `debug_assert!`, which the profile of this workspace keeps in. Where that is compiled
        // out the leader goes on and counts a follower for what the follower has lost.
        allow_log_reversion: planted(Mutant::QuorumOffByOne).then_some(true),
        ..Config::default()
    };
    config.validate().map_err(StartFault::Timers)
}
