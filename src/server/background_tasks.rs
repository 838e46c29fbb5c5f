//! Tasks that a member runs beside what it serves: announcements, keepers, upkeep.

use std::sync::{Arc, atomic::AtomicBool};

use quorate_supervisor::SupervisorHandle;
use url::Url;

use super::{
    announce, audit_file,
    critical_tasks::CriticalTasks,
    failover::{FailoverKeeper, LocalFailoverRecord},
    keyring, moved_members, reign_log,
    sealed_leader::SealedLeader,
    voucher_key,
};
use crate::{
    admin::{self, peers::AdminPeers},
    cluster::ClusterHandle,
    settings::{SecurityMode, Settings},
};

/// The parts that the background tasks of a member are started with.
pub(super) struct BackgroundTasks<'a> {
    pub cluster: &'a ClusterHandle,
    pub connectors: &'a SupervisorHandle,
    pub settings: &'a Settings,
    pub tasks: &'a mut CriticalTasks,
}

impl BackgroundTasks<'_> {
    /// Starts them.
    pub(super) fn spawn(
        self,
        carried: Vec<String>,
        peers: AdminPeers,
        others: Vec<Url>,
        caught_up: Arc<AtomicBool>,
        failover: LocalFailoverRecord,
    ) {
        let BackgroundTasks {
            cluster,
            connectors,
            settings,
            tasks,
        } = self;
        tasks.background("upkeep of the metrics", upkeep(cluster.clone()));
        let announcing = announce::announce(cluster.clone(), carried, settings.failover_ms_given);
        tasks.background("announcement", announcing);
        let keeper = keyring::KeyringKeeper::new(cluster.clone(), peers.clone());
        tasks.background("the keyring", keeper.keep());
        let sealed_leader = SealedLeader {
            cluster: cluster.clone(),
            connectors: connectors.clone(),
            drain: settings.drain,
        };
        tasks.background("a leader without a key", sealed_leader.hand_over());
        let search = moved_members::find_moved_members(cluster.clone(), peers, others);
        tasks.background("the search for members that have moved", search);
        let reign_log = reign_log::start_when_caught_up(cluster.clone(), caught_up);
        tasks.background("the log of reigns", reign_log);
        let keeper = FailoverKeeper {
            cluster: cluster.clone(),
            data_dir: settings.data_dir.clone(),
            record: failover,
            failover_ms: settings.failover_ms,
        };
        tasks.background("the failover promise", keeper.keep());
        if settings.security.mode == SecurityMode::On {
            if let Some(file) = settings.security.audit_file.clone() {
                let keeping = audit_file::keep(cluster.clone(), file);
                tasks.background("the audit trail", keeping);
            }
            let creation = voucher_key::create(cluster.clone());
            tasks.background("the voucher key", creation);
        }
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
