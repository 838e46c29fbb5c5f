//! One trial of a peer: from a fault of its leader to the first write that the successor
//! acknowledged, seen by clients of the surviving members.

use std::time::Duration;

use async_trait::async_trait;
use quorate_testkit::eventually::within;

use crate::{
    fault::Fault,
    hosts::Hosts,
    process::ServerProcess,
    trial::{Measured, any_moment, ms},
    writes::{Door, Writes},
};

/// The longest that a failover of a peer may take: Redis' default is 30 s.
const LIMIT: Duration = Duration::from_secs(60);
const WHOLE: Duration = Duration::from_secs(60);

/// Three servers of one kind.
#[async_trait]
pub trait Peer: Send + Sync {
    /// The servers, by host.
    fn servers(&mut self) -> &mut [ServerProcess];

    /// After the servers have been started for the first time.
    async fn begun(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// The leader's host, once all three are up and follow it.
    async fn leader(&self) -> Result<usize, String>;

    /// Starts the server of a host again, as a follower of the present leader.
    async fn rejoin(&mut self, host: usize) -> Result<(), String> {
        self.servers()[host].start();
        Ok(())
    }

    /// After a server has come back from a pause or a partition.
    async fn returned(&mut self, _host: usize) -> Result<(), String> {
        Ok(())
    }

    /// Where clients find the server of a host.
    fn address(&self, host: usize) -> String;

    /// Makes clients of the server of a host.
    fn door(&self, host: usize) -> Door;

    /// Whether followers pass writes on to the leader.
    fn forwards(&self) -> bool {
        true
    }
}

/// Starts all and waits until they are one cluster.
pub async fn boot(peer: &mut dyn Peer) -> Result<(), String> {
    for server in peer.servers() {
        server.start();
    }
    peer.begun().await?;
    whole(peer).await.map(drop)
}

/// Waits until all three are one cluster; gives the leader's host.
pub async fn whole(peer: &dyn Peer) -> Result<usize, String> {
    Ok(within("a whole cluster", WHOLE, || peer.leader()).await?)
}

/// One trial.
pub async fn trial(peer: &mut dyn Peer, hosts: &Hosts, fault: Fault) -> Result<Measured, String> {
    let leader = whole(peer).await?;
    let survivors: Vec<_> = (0..peer.servers().len()).filter(|n| *n != leader).collect();
    let writes = Writes::start(survivors.iter().map(|n| peer.door(*n)).collect());
    if peer.forwards() {
        writes.flow().await?;
    }
    any_moment().await;
    let before = writes.mark();
    let pid = peer.servers()[leader].pid();
    let struck = fault.strike(hosts, leader, pid);
    let first = writes.first(struck, LIMIT, |mark| mark > before).await;
    let effect = fault.took_effect(hosts, leader, pid);
    drop(writes);
    fault.heal(hosts, pid);
    if fault.ends_the_process() {
        peer.servers()[leader].ended(Duration::from_secs(20))?;
        peer.rejoin(leader).await?;
    } else {
        peer.returned(leader).await?;
    }
    effect?;
    Ok(Measured::from([("write".to_owned(), ms(first?))]))
}
