//! A system that is up: boots what a case needs and does its trials.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use quorate_testkit::eventually::within;

use crate::{
    etcd::Etcd,
    hosts::Hosts,
    lock::{self, Lock},
    peer::{self, Peer},
    plan::{Case, REDIS_DEFAULT, Setup, What},
    quorate::{Broker, Fence, Quorate},
    redis::Sentinels,
    trial::Measured,
    zookeeper::ZooKeeper,
};

/// How long a peer may take to be whole again after a trial.
const AGAIN: Duration = Duration::from_secs(5);

/// A system that is up.
pub enum Stage {
    Quorate(Box<Quorate>),
    Etcd(Etcd),
    ZooKeeper(ZooKeeper),
    Redis(Sentinels),
}

impl Stage {
    /// Starts it; `fences` are those that its cases ask for.
    pub async fn boot(
        setup: Setup,
        fences: &[Fence],
        hosts: &Hosts,
        broker: Option<&Arc<Broker>>,
    ) -> Result<Stage, String> {
        match setup {
            Setup::Quorate {
                failover_ms,
                channels,
            } => {
                let broker = broker.ok_or("no broker was started")?;
                let quorate = Quorate::boot(hosts, broker, failover_ms, channels, fences);
                Ok(Stage::Quorate(Box::new(caught(quorate).await?)))
            }
            Setup::Etcd {
                heartbeat,
                election,
            } => {
                let mut etcd = Etcd::new(hosts, heartbeat, election);
                peer::boot(&mut etcd).await?;
                Ok(Stage::Etcd(etcd))
            }
            Setup::ZooKeeper { tick } => {
                let mut zookeeper = ZooKeeper::new(hosts, tick);
                peer::boot(&mut zookeeper).await?;
                Ok(Stage::ZooKeeper(zookeeper))
            }
            Setup::Redis { down_after } => {
                let mut sentinels = Sentinels::new(hosts, down_after);
                peer::boot(&mut sentinels).await?;
                Ok(Stage::Redis(sentinels))
            }
        }
    }

    /// Whether it is whole again soon enough after its last trial. Quorate has to be; of a
    /// peer that isn't (a Sentinel can look only once in 10 s) a new one is started.
    pub async fn stands(&self) -> Result<(), String> {
        let peer: &dyn Peer = match self {
            Stage::Quorate(_) => return Ok(()),
            Stage::Etcd(etcd) => etcd,
            Stage::ZooKeeper(zookeeper) => zookeeper,
            Stage::Redis(sentinels) => sentinels,
        };
        within("a whole cluster", AGAIN, || peer.leader()).await?;
        Ok(())
    }

    /// One trial.
    pub async fn trial(&mut self, case: &Case, hosts: &Hosts) -> Result<Measured, String> {
        caught(self.dispatch(case, hosts)).await
    }

    async fn dispatch(&mut self, case: &Case, hosts: &Hosts) -> Result<Measured, String> {
        if let (Stage::Quorate(quorate), What::Message(fence)) = (&mut *self, case.what) {
            return quorate.trial(fence, case.fault).await;
        }
        let (peer, kind): (&mut dyn Peer, _) = match self {
            Stage::Etcd(etcd) => (etcd, "etcd"),
            Stage::ZooKeeper(zookeeper) => (zookeeper, "zookeeper"),
            Stage::Redis(sentinels) => (sentinels, "redis"),
            Stage::Quorate(_) => return Err("Quorate has no case of this kind".into()),
        };
        let What::Lock(ttl_ms) = case.what else {
            return peer::trial(peer, hosts, case.fault).await;
        };
        // A server that has just come back may still have the others vote.
        let leader = peer::whole(&*peer).await?;
        let address = peer.address(leader);
        let lock = Lock {
            kind,
            address,
            ttl_ms,
        };
        lock::trial(&lock, case.fault).await
    }
}

/// Whether a setup's trials each need a new one.
pub fn used_up(setup: Setup) -> bool {
    setup == REDIS_DEFAULT
}

/// What the tests' helpers say by a panic, as an error.
async fn caught<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text
                .or(panic.downcast_ref::<&str>().map(|t| (*t).to_owned()))
                .unwrap_or_default())
        }
    }
}
