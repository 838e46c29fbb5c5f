//! One member, from its settings to its end: build, run, drain. The only module that
//! knows every other.
//!
//! The order at the start: ports (so that a taken one is told before anything is written),
//! what the member is born as, storage and consensus, the pid file, and then the faces:
//! peers first, because without them there is no quorum. At the end it goes the other way
//! round; see [`drain`].

mod announce;
mod birth;
mod bridge;
mod dedicated;
mod drain;
mod error;
mod faces;
mod failover;
mod ports;
mod reign_log;
mod vital;
mod whereabouts;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use quorate_platform::{
    egress::Egress,
    pid_file::PidFile,
    private_folder::{self, DATA_HOLDS, FolderError},
};
use quorate_raft::{Node, Options, SnapshotPolicy};
use quorate_service::{Dispatcher, Service, Services};
use quorate_supervisor as connector;
use quorate_types::{Member, Pace, Timing};
use tokio::sync::watch;

use crate::{
    admin::{self, peers::Peers},
    cluster::Cluster,
    replica::Replica,
    settings::Settings,
};

pub use birth::Birth;
pub use error::ServerError;

use dedicated::Dedicated;
use failover::FailoverKeeper;
use ports::Ports;
use vital::Vital;

/// A member that can be run.
pub struct Server {
    settings: Settings,
    birth: Birth,
    services: BTreeMap<String, Arc<dyn Service>>,
}

/// Puts a [`Server`] together.
pub struct Builder {
    settings: Settings,
    birth: Birth,
    services: Vec<(String, Arc<dyn Service>)>,
}

impl Builder {
    /// How the member comes to be part of a cluster, the first time; [`Birth::Resume`]
    /// unless told otherwise. A member that has been part of one before goes on as it is.
    pub fn birth(mut self, birth: Birth) -> Builder {
        self.birth = birth;
        self
    }

    /// Adds a service that this program carries in code, under a name of its own.
    pub fn service(mut self, name: impl Into<String>, service: impl Service) -> Builder {
        self.services.push((name.into(), Arc::new(service)));
        self
    }

    /// Checks what can be checked without touching anything.
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
            birth: self.birth,
            services,
        })
    }
}

/// What runs, for the time between start and end.
struct Running {
    settings: Settings,
    cluster: Cluster,
    services: Arc<Services>,
    connectors: connector::Handle,
    faces: faces::Faces,
    draining: watch::Sender<bool>,
    vital: Vital,
    _dispatcher: Arc<Dispatcher>,
    _pid: PidFile,
    _dedicated: Dedicated,
}

impl Server {
    /// Begins to put a member together.
    pub fn builder(settings: Settings) -> Builder {
        Builder {
            settings,
            birth: Birth::Resume,
            services: Vec::new(),
        }
    }

    /// Runs until `shutdown`, then hands over and drains. It returns earlier only with an
    /// error: it could not start, or lost a part that it can't be without.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        tokio::pin!(shutdown);
        let mut running = tokio::select! {
            started = self.start() => started?,
            () = &mut shutdown => return Ok(()),
        };
        let lost = tokio::select! {
            lost = running.vital.lost() => Some(lost),
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

    async fn start(self) -> Result<Running, ServerError> {
        let Server {
            settings,
            birth,
            services,
        } = self;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        // Before anything is written, and before a cluster takes it in.
        check_folders(&settings).map_err(|error| ServerError::Refused(error.to_string()))?;
        quorate_platform::tls::install_provider();
        // Here and not at the first scrape, so that nothing is counted before.
        let _ = admin::metrics::recorder();
        let insecure = u8::from(settings.insecure.any());
        metrics::gauge!("quorate_insecure").set(f64::from(insecure));
        let peers = Peers::new().map_err(|error| {
            ServerError::Refused(format!("can't set up the HTTP client: {error}"))
        })?;

        let asker = peers.clone();
        let ports = Ports::bind(&settings).await?;
        let birth::Born {
            birth,
            failover,
            others,
        } = birth::decide(&settings, birth, &peers).await?;
        let (replica, state) = Replica::new();
        let abreast = replica.abreast();
        let dedicated = Dedicated::start().map_err(|error| {
            ServerError::Refused(format!("can't start the threads of consensus: {error}"))
        })?;
        let node = Node::start(options(&settings, failover.pace()), birth, replica);
        let started = dedicated.run(node).await.map_err(ServerError::Refused)?;
        let node = started.map_err(|error| ServerError::Refused(error.to_string()))?;
        let pid = PidFile::write(&settings.pid_file)
            .map_err(|error| ServerError::Refused(error.to_string()))?;

        let (me, cluster_id) = (node.id(), node.cluster().to_owned());
        let cluster = Cluster::new(node, state.clone());
        let members = cluster.node().watch_members();
        let egress = Egress::new(
            &settings.egress.deny,
            &settings.egress.allow,
            [settings.admin.bind.port(), settings.peer.bind.port()],
            members.clone(),
        );
        let services = Services::with_egress(services, state.clone(), egress);
        let silent = cluster.node().silent();
        let dispatcher = Dispatcher::new(cluster_id.clone(), me, members, silent, services.clone());
        let (draining, draining_seen) = watch::channel(false);

        let mut vital = Vital::new();
        let mut faces = faces::Faces::default();
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
        let connectors = bridge::start(
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
        let context = admin::Context {
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
        let asking = whereabouts::ask(cluster.clone(), asker, others);
        vital.background("the search for members that have moved", asking);
        vital.background(
            "the log of reigns",
            reign_log::begin(cluster.clone(), abreast),
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
        Ok(Running {
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

fn options(settings: &Settings, pace: Pace) -> Options {
    Options {
        dir: settings.data_dir.clone(),
        member: Member {
            name: settings.name.clone(),
            http: settings.http.advertise.clone(),
            admin: settings.admin.advertise.clone(),
            peer: settings.peer.advertise.clone(),
        },
        pace,
        snapshot: SnapshotPolicy {
            entries: settings.snapshot.entries,
            bytes: settings.snapshot.bytes,
            keep: settings.snapshot.keep,
        },
        lock_wait: settings.lock_wait,
    }
}

/// Folds away old samples, and frees what was counted of connectors that were deleted, so that
/// neither piles up when nobody scrapes.
async fn upkeep(cluster: Cluster) {
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
