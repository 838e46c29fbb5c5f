//! One member, from its settings to its end: build, run, drain.
//!
//! This is the only module that knows every other. The order at the start: ports (so that a taken
//! one is reported before anything is written), the start mode, storage and consensus, the pid
//! file, and then the listeners: peers first, because without them there is no quorum. The end
//! goes the other way round; see [`drain`].

mod announce;
mod connector_setup;
mod consensus_runtime;
mod critical_tasks;
mod drain;
mod error;
mod failover;
mod listeners;
mod moved_members;
mod ports;
mod reign_log;
mod start_mode;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use quorate_platform::{
    egress::EgressPolicy,
    pid_file::PidFile,
    private_folder::{self, DATA_HOLDS, FolderError},
};
use quorate_raft::{Node, NodeOptions, SnapshotPolicy};
use quorate_service::{Service, ServiceDispatcher, Services};
use quorate_supervisor as connector;
use quorate_types::{EffectiveTiming, Member, Timing};
use tokio::sync::watch;

use crate::{
    admin::{self, peers::AdminPeers},
    cluster::ClusterHandle,
    replica::StateReplica,
    settings::Settings,
};

pub use error::ServerError;
pub use start_mode::StartMode;

use consensus_runtime::ConsensusRuntime;
use critical_tasks::CriticalTasks;
use failover::FailoverKeeper;
use ports::BoundPorts;

/// A member that can be run.
pub struct Server {
    settings: Settings,
    start_mode: StartMode,
    services: BTreeMap<String, Arc<dyn Service>>,
}

/// Puts a [`Server`] together.
pub struct ServerBuilder {
    settings: Settings,
    start_mode: StartMode,
    services: Vec<(String, Arc<dyn Service>)>,
}

impl ServerBuilder {
    /// How the member comes to be part of a cluster, the first time; [`StartMode::Resume`]
    /// unless told otherwise. A member that has been part of one before goes on as it is.
    pub fn start_mode(mut self, birth: StartMode) -> ServerBuilder {
        self.start_mode = birth;
        self
    }

    /// Adds a service that this program carries in code, under a name of its own.
    pub fn service(mut self, name: impl Into<String>, service: impl Service) -> ServerBuilder {
        self.services.push((name.into(), Arc::new(service)));
        self
    }

    /// Checks what can be checked without touching anything, and returns the server.
    pub fn build(self) -> Result<Server, ServerError> {
        Timing::from_failover_ms(self.settings.failover_ms)
            .map_err(|error| ServerError::Refused(error.to_string()))?;
        let mut services = BTreeMap::new();
        for (name, service) in self.services {
            quorate_resources::check_name(&name).map_err(|problem| {
                ServerError::Refused(format!("the service name {name:?} {problem}"))
            })?;
            if matches!(name.as_str(), "ping" | "echo") {
                return Err(ServerError::Refused(format!(
                    "the service {name:?} is built in; give yours another name"
                )));
            }
            if services.insert(name.clone(), service).is_some() {
                return Err(ServerError::Refused(format!(
                    "two services are called {name:?}"
                )));
            }
        }
        Ok(Server {
            settings: self.settings,
            start_mode: self.start_mode,
            services,
        })
    }
}

/// A member that runs, between its start and its end.
struct RunningServer {
    settings: Settings,
    cluster: ClusterHandle,
    services: Arc<Services>,
    connectors: connector::SupervisorHandle,
    faces: listeners::MemberListeners,
    draining: watch::Sender<bool>,
    vital: CriticalTasks,
    _dispatcher: Arc<ServiceDispatcher>,
    _pid: PidFile,
    _dedicated: ConsensusRuntime,
}

impl Server {
    /// Begins to put a member together.
    pub fn builder(settings: Settings) -> ServerBuilder {
        ServerBuilder {
            settings,
            start_mode: StartMode::Resume,
            services: Vec::new(),
        }
    }

    /// Runs until `shutdown`, then hands over and drains. Returns earlier only with an error, when
    /// the member could not start, or lost a part that it can't be without.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        tokio::pin!(shutdown);
        let mut running = tokio::select! {
            started = self.start() => started?,
            () = &mut shutdown => return Ok(()),
        };
        let lost = tokio::select! {
            lost = running.vital.wait_for_loss() => Some(lost),
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
            start_mode: birth,
            services,
        } = self;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        // Before anything is written, and before a cluster takes it in.
        check_folders(&settings).map_err(|error| ServerError::Refused(error.to_string()))?;
        quorate_platform::tls_provider::install_provider();
        // Here and not at the first scrape, so that nothing is counted before.
        let _ = admin::metrics::recorder();
        let insecure = u8::from(settings.insecure.any());
        metrics::gauge!("quorate_insecure").set(f64::from(insecure));
        let peers = AdminPeers::new().map_err(|error| {
            ServerError::Refused(format!("can't set up the HTTP client: {error}"))
        })?;

        let asker = peers.clone();
        let ports = BoundPorts::bind(&settings).await?;
        let start_mode::StartDecision {
            birth,
            failover,
            others,
        } = start_mode::decide(&settings, birth, &peers).await?;
        let (replica, state) = StateReplica::new();
        let abreast = replica.caught_up();
        let dedicated = ConsensusRuntime::start().map_err(|error| {
            ServerError::Refused(format!("can't start the threads of consensus: {error}"))
        })?;
        let node = Node::start(options(&settings, failover.pace()), birth, replica);
        let started = dedicated.run(node).await.map_err(ServerError::Refused)?;
        let node = started.map_err(|error| ServerError::Refused(error.to_string()))?;
        let pid = PidFile::write(&settings.pid_file)
            .map_err(|error| ServerError::Refused(error.to_string()))?;

        let (me, cluster_id) = (node.id(), node.cluster().to_owned());
        let cluster = ClusterHandle::new(node, state.clone());
        let members = cluster.node().watch_members();
        let egress = EgressPolicy::new(
            &settings.egress.deny,
            &settings.egress.allow,
            [settings.admin.bind.port(), settings.peer.bind.port()],
            members.clone(),
        );
        let services = Services::with_egress(services, state.clone(), egress);
        let silent = cluster.node().unreachable_members();
        let dispatcher =
            ServiceDispatcher::new(cluster_id.clone(), me, members, silent, services.clone());
        let (draining, draining_seen) = watch::channel(false);

        let mut vital = CriticalTasks::new();
        let mut faces = listeners::MemberListeners::default();
        let consensus = dedicated.handle();
        faces
            .peer(
                ports.peer,
                consensus,
                &cluster,
                services.clone(),
                &mut vital,
            )
            .map_err(|error| ServerError::Refused(format!("the peer port: {error}")))?;
        let connectors = connector_setup::start_connectors(
            &settings,
            &cluster,
            consensus,
            dispatcher.clone(),
            &mut vital,
        )?;
        faces.http(
            ports.http,
            services.clone(),
            state.clone(),
            &settings,
            &mut vital,
        );
        let context = admin::AdminContext {
            cluster: cluster.clone(),
            services: services.clone(),
            connectors: connectors.clone(),
            drain: settings.drain,
            draining: draining_seen,
            peers,
            allowed_hosts: Arc::new(admin::AllowedHosts::new(
                &settings.admin.advertise,
                &settings.admin_allowed_hosts,
            )),
            insecure: settings.insecure,
            intents: Arc::default(),
        };
        faces.admin(ports.admin, admin::router(context), &mut vital);
        let node = cluster.node().clone();
        vital.spawn("consensus", async move { Err(node.failed().await) });
        vital.follow("the leadership", cluster.node().leadership());
        vital.follow("the replicated state", state);
        vital.background("upkeep of the metrics", upkeep(cluster.clone()));
        vital.background(
            "announcement",
            announce::announce(
                cluster.clone(),
                services.carried_names(),
                settings.failover_ms_given,
            ),
        );
        let asking = moved_members::find_moved_members(cluster.clone(), asker, others);
        vital.background("the search for members that have moved", asking);
        vital.background(
            "the log of reigns",
            reign_log::start_when_caught_up(cluster.clone(), abreast),
        );
        let keeper = FailoverKeeper {
            cluster: cluster.clone(),
            data_dir: settings.data_dir.clone(),
            record: failover,
            failover_ms: settings.failover_ms,
        };
        vital.background("the failover promise", keeper.keep());
        tracing::info!(
            member = settings.name,
            id = me,
            cluster = cluster_id,
            http = %settings.http.bind,
            admin = %settings.admin.bind,
            peer = %settings.peer.bind,
            "in service"
        );
        Ok(RunningServer {
            settings,
            cluster,
            services,
            connectors,
            faces,
            draining,
            vital,
            _dispatcher: dispatcher,
            _pid: pid,
            _dedicated: dedicated,
        })
    }
}

/// Holds the folders that the settings name, where they are there, to be this user's alone.
fn check_folders(settings: &Settings) -> Result<(), FolderError> {
    private_folder::check(&settings.data_dir, DATA_HOLDS)?;
    private_folder::check(&settings.connectors.zmq_ipc_dir, connector::IPC_DIR_HOLDS)
}

fn options(settings: &Settings, pace: EffectiveTiming) -> NodeOptions {
    NodeOptions {
        dir: settings.data_dir.clone(),
        member: Member {
            name: settings.name.clone(),
            http: settings.http.advertise.clone(),
            admin: settings.admin.advertise.clone(),
            peer: settings.peer.advertise.clone(),
        },
        timing: pace,
        snapshot: SnapshotPolicy {
            entries: settings.snapshot.entries,
            bytes: settings.snapshot.bytes,
            keep: settings.snapshot.keep,
        },
        lock_wait: settings.lock_wait,
    }
}

/// Folds old samples and frees the series of deleted connectors, so that neither piles up when
/// nobody scrapes.
async fn upkeep(cluster: ClusterHandle) {
    let Some(recorder) = admin::metrics::recorder() else {
        return;
    };
    let mut ticks = tokio::time::interval(admin::metrics::UPKEEP);
    loop {
        ticks.tick().await;
        recorder.run_upkeep();
        let state = cluster.state();
        recorder.forget(|kind, name| admin::metrics::is_declared(state.catalog(), kind, name));
    }
}

#[cfg(test)]
mod tests;
