//! One member, from its settings to its end: build, run, drain.
//!
//! This is the only module that knows every other. The order at the start: ports (so that a taken
//! one is reported before anything is written), the start mode, storage and consensus, the pid
//! file, and then the listeners: peers first, because without them there is no quorum. The end
//! goes the other way round; see [`drain`].

mod announce;
mod audit_file;
mod background_tasks;
mod builder;
mod connector_setup;
mod consensus_runtime;
mod critical_tasks;
mod drain;
mod error;
mod failover;
mod hardening;
mod keyring;
mod listeners;
mod moved_members;
mod ports;
mod reign_log;
mod sealed_leader;
mod sealing_members;
mod start_mode;
mod voucher_key;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, atomic::AtomicBool},
};

use quorate_platform::{
    pid_file::PidFile,
    private_folder::{self, DATA_HOLDS, FolderError},
};
use quorate_raft::{Node, NodeOptions, SnapshotPolicy};
use quorate_service::{Service, ServiceDispatcher, Services};
use quorate_state::State;
use quorate_supervisor as connector;
use quorate_tls::{MemberTls, keep_reloaded};
use quorate_types::{EffectiveTiming, Member};
use quorate_vault::{Vault, key_file};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};
use url::Url;

use crate::{
    admin::{self, peers::AdminPeers},
    cluster::ClusterHandle,
    replica::StateReplica,
    settings::Settings,
};

pub use builder::ServerBuilder;
pub use error::ServerError;
pub use start_mode::StartMode;

use background_tasks::BackgroundTasks;
use consensus_runtime::ConsensusRuntime;
use critical_tasks::CriticalTasks;
use failover::LocalFailoverRecord;
use ports::BoundPorts;

/// A member that can be run.
pub struct Server {
    settings: Settings,
    start_mode: StartMode,
    join_token: Option<Arc<str>>,
    services: BTreeMap<String, Arc<dyn Service>>,
    reload: mpsc::Receiver<()>,
}

/// A member that runs, between its start and its end.
struct RunningServer {
    settings: Settings,
    cluster: ClusterHandle,
    services: Arc<Services>,
    connectors: connector::SupervisorHandle,
    listeners: listeners::MemberListeners,
    draining: watch::Sender<bool>,
    tasks: CriticalTasks,
    _dispatcher: Arc<ServiceDispatcher>,
    _pid: PidFile,
    _consensus_runtime: ConsensusRuntime,
}

impl Server {
    /// Runs until `shutdown`, then hands over and drains. Returns earlier only with an error, when
    /// the member could not start, or lost a part that it can't be without.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        tokio::pin!(shutdown);
        let mut running = tokio::select! {
            started = self.start() => started?,
            () = &mut shutdown => return Ok(()),
        };
        let lost = tokio::select! {
            lost = running.tasks.wait_for_loss() => Some(lost),
            () = &mut shutdown => None,
        };
        match lost {
            None => {
                drain::orderly(running).await;
                Ok(())
            }
            Some(error) => {
                tracing::error!(%error, "the member can't go on");
                drain::at_once(running).await;
                Err(error)
            }
        }
    }

    async fn start(self) -> Result<RunningServer, ServerError> {
        let Server {
            settings,
            start_mode,
            join_token,
            services,
            reload,
        } = self;
        let tls = load_tls(&settings).await?;
        let (peers, host_warnings) = prepare(&settings, tls.as_deref())?;
        let peers = peers.with_token(join_token);
        let ports = BoundPorts::bind(&settings).await?;
        let seal_key = key_file::read_or_make(&settings.keys_dir)
            .map_err(|error| ServerError::Refused(error.to_string()))?;
        // The runtime first, so that it is dropped after everything that runs on it.
        let StartedConsensus {
            runtime,
            node,
            state,
            caught_up,
            failover,
            others,
        } = StartedConsensus::start(&settings, start_mode, &peers, tls.as_deref()).await?;
        let pid = PidFile::write(&settings.pid_file)
            .map_err(|error| ServerError::Refused(error.to_string()))?;
        peers.vouch_by(state.clone());
        let vault = Arc::new(Vault::new(node.cluster(), node.id(), seal_key));
        let cluster = ClusterHandle::new(node, state.clone(), vault);
        let (services, dispatcher) = start_services(&settings, &cluster, services, tls.as_deref());
        let (draining, draining_seen) = watch::channel(false);
        let mut tasks = CriticalTasks::new();
        let mut listeners = listeners::MemberListeners::default();
        listeners
            .peer(
                ports.peer,
                runtime.handle(),
                &cluster,
                services.clone(),
                settings.hardening.loopback,
                tls.as_deref(),
                &mut tasks,
            )
            .map_err(|error| ServerError::Refused(format!("the peer port: {error}")))?;
        let connectors = connector_setup::start_connectors(
            &settings,
            &cluster,
            runtime.handle(),
            dispatcher.clone(),
            &mut tasks,
        )?;
        listeners.http(
            ports.http,
            services.clone(),
            state.clone(),
            &settings,
            &mut tasks,
        );
        let context = admin::AdminContext {
            cluster: cluster.clone(),
            services: services.clone(),
            connectors: connectors.clone(),
            drain: settings.drain,
            draining: draining_seen,
            peers: peers.clone(),
            allowed_hosts: allowed_hosts(&settings),
            access: Arc::new(admin::AccessGate::new(settings.security.mode)),
            insecure: settings.insecure,
            host_warnings,
            tls: tls.clone(),
            intents: Arc::default(),
        };
        let users = settings.hardening.loopback;
        let router = admin::router(context);
        if let Some(path) = &settings.security.local_socket {
            let socket = admin::LocalSocket::bind(path)
                .map_err(|error| ServerError::Refused(error.to_string()))?;
            listeners.local_socket(socket, router.clone(), &mut tasks);
        }
        listeners.admin(ports.admin, router, users, tls.as_deref(), &mut tasks);
        if let Some(tls) = tls {
            let reloading = keep_reloaded(vec![tls], reload);
            tasks.background("the reloading of certificates", reloading);
        }
        follow_consensus(&cluster, state, &mut tasks);
        let background = BackgroundTasks {
            cluster: &cluster,
            connectors: &connectors,
            settings: &settings,
            tasks: &mut tasks,
        };
        background.spawn(services.carried_names(), peers, others, caught_up, failover);
        log_start(&settings, cluster.node());
        Ok(RunningServer {
            settings,
            cluster,
            services,
            connectors,
            listeners,
            draining,
            tasks,
            _dispatcher: dispatcher,
            _pid: pid,
            _consensus_runtime: runtime,
        })
    }
}

fn allowed_hosts(settings: &Settings) -> Arc<admin::AllowedHosts> {
    Arc::new(admin::AllowedHosts::new(
        &settings.admin.advertise,
        &settings.admin_allowed_hosts,
    ))
}

fn log_start(settings: &Settings, node: &Node) {
    tracing::info!(
        member = settings.name,
        id = node.id(),
        cluster = node.cluster(),
        http = %settings.http.bind,
        admin = %settings.admin.bind,
        peer = %settings.peer.bind,
        "in service"
    );
}

/// Loads the member's certificate, before anything is written or bound.
async fn load_tls(settings: &Settings) -> Result<Option<Arc<MemberTls>>, ServerError> {
    let Some(files) = settings.tls.clone() else {
        return Ok(None);
    };
    let name = settings.name.clone();
    let loaded = spawn_blocking(move || MemberTls::load(files, &name)).await;
    let loaded = loaded.map_err(|error| ServerError::Refused(error.to_string()))?;
    let loaded = loaded.map_err(|error| ServerError::Refused(error.to_string()))?;
    Ok(Some(loaded))
}

/// Does what needs no cluster: checks folders, installs metrics and TLS, makes the HTTP client.
fn prepare(
    settings: &Settings,
    tls: Option<&MemberTls>,
) -> Result<(AdminPeers, Arc<[String]>), ServerError> {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    // Before anything is written, and before a cluster takes the member in.
    check_folders(settings).map_err(|error| ServerError::Refused(error.to_string()))?;
    // Here and not at the first scrape, so that nothing is counted before.
    let _ = admin::metrics::recorder();
    let insecure = u8::from(settings.insecure.any());
    metrics::gauge!("quorate_insecure").set(f64::from(insecure));
    let host_warnings = hardening::look_at_host(&settings.hardening)
        .map_err(|error| ServerError::Refused(error.to_string()))?;
    let peers = AdminPeers::new(tls)
        .map_err(|error| ServerError::Refused(format!("can't set up the HTTP client: {error}")))?;
    Ok((peers, host_warnings.into()))
}

/// Consensus and the replicated state of a member, started.
struct StartedConsensus {
    runtime: ConsensusRuntime,
    node: Node,
    state: watch::Receiver<Arc<State>>,
    caught_up: Arc<AtomicBool>,
    failover: LocalFailoverRecord,
    others: Vec<Url>,
}

impl StartedConsensus {
    async fn start(
        settings: &Settings,
        start_mode: StartMode,
        peers: &AdminPeers,
        tls: Option<&MemberTls>,
    ) -> Result<StartedConsensus, ServerError> {
        let start_mode::StartDecision {
            node_start,
            failover,
            others,
        } = start_mode::decide(settings, start_mode, peers).await?;
        let (replica, state) = StateReplica::new();
        let caught_up = replica.caught_up();
        let runtime = ConsensusRuntime::start().map_err(|error| {
            ServerError::Refused(format!("can't start the threads of consensus: {error}"))
        })?;
        let node = Node::start(
            node_options(settings, failover.timing(), tls),
            node_start,
            replica,
        );
        let started = runtime.run(node).await;
        let node = started
            .map_err(|error| ServerError::Refused(error.to_string()))?
            .map_err(|error| ServerError::Refused(error.to_string()))?;
        Ok(StartedConsensus {
            runtime,
            node,
            state,
            caught_up,
            failover,
            others,
        })
    }
}

/// Makes the services that this member carries, and the dispatcher that calls those of others.
fn start_services(
    settings: &Settings,
    cluster: &ClusterHandle,
    services: BTreeMap<String, Arc<dyn Service>>,
    tls: Option<&MemberTls>,
) -> (Arc<Services>, Arc<ServiceDispatcher>) {
    let node = cluster.node();
    let members = node.watch_members();
    let egress = hardening::egress(settings, members.clone());
    let vault = cluster.vault().clone();
    let open = Arc::new(move |state: &State| vault.opened(state));
    let services = Services::with_egress(services, cluster.watch_state(), egress, open);
    let dispatcher = ServiceDispatcher::new(
        node.cluster().to_owned(),
        node.id(),
        members,
        node.unreachable_members(),
        services.clone(),
        tls.map(MemberTls::connector),
    );
    (services, dispatcher)
}

/// Ends the member when consensus fails, or a part of it no longer feeds its watch.
fn follow_consensus(
    cluster: &ClusterHandle,
    state: watch::Receiver<Arc<State>>,
    tasks: &mut CriticalTasks,
) {
    let node = cluster.node().clone();
    tasks.spawn("consensus", async move { Err(node.failed().await) });
    tasks.follow("the leadership", cluster.node().leadership());
    tasks.follow("the replicated state", state);
}

/// Refuses folders of the settings that exist and are not this user's alone.
fn check_folders(settings: &Settings) -> Result<(), FolderError> {
    private_folder::check(&settings.data_dir, DATA_HOLDS)?;
    private_folder::check(&settings.keys_dir, key_file::KEYS_HOLD)?;
    private_folder::check(&settings.connectors.zmq_ipc_dir, connector::IPC_DIR_HOLDS)
}

fn node_options(
    settings: &Settings,
    timing: EffectiveTiming,
    tls: Option<&MemberTls>,
) -> NodeOptions {
    NodeOptions {
        dir: settings.data_dir.clone(),
        member: Member {
            name: settings.name.clone(),
            http: settings.http.advertise.clone(),
            admin: settings.admin.advertise.clone(),
            peer: settings.peer.advertise.clone(),
        },
        timing,
        snapshot: SnapshotPolicy {
            entries: settings.snapshot.entries,
            bytes: settings.snapshot.bytes,
            keep: settings.snapshot.keep,
        },
        lock_wait: settings.lock_wait,
        tls: tls.map(MemberTls::connector),
    }
}

#[cfg(test)]
mod tests;
