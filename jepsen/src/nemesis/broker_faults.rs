//! Faults of RabbitMQ: a crash, and a stall that ends as the leader stalls.
//!
//! After a crash it starts again with what it had stored. After a stall the leader's successor is
//! left alone.

use std::{net::TcpStream, sync::Arc, time::Duration};

use async_trait::async_trait;
use nix::sys::signal::Signal;
use quorate_testkit::process::{send, stat};
use rand::{Rng, rngs::StdRng};

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
};
use crate::{
    cluster::{api, error::ClusterError, id_of},
    run_context::RunContext,
};

/// Crash of RabbitMQ.
#[derive(Default)]
pub struct BrokerCrash;

#[async_trait]
impl Nemesis for BrokerCrash {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let broker = context.broker.as_ref().ok_or(NemesisError::NoBroker)?;
        let mut rabbit = broker.rabbit.lock().await;
        let told = if rng.random_ratio(3, 4) {
            rabbit.kill();
            "killed RabbitMQ"
        } else {
            rabbit.stop();
            "stopped RabbitMQ"
        };
        Ok(FaultTarget {
            description: told.to_owned(),
            members: Vec::new(),
        })
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let broker = context.broker.as_ref().ok_or(NemesisError::NoBroker)?;
        match TcpStream::connect(broker.address) {
            Ok(_) => Err(NemesisError::NoEffect("it takes connections".to_owned())),
            Err(error) => Ok(error.to_string()),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        let Some(broker) = &context.broker else {
            return Ok(());
        };
        let mut rabbit = broker.rabbit.lock().await;
        if rabbit.pid().is_none() {
            rabbit.up().await;
        }
        Ok(())
    }
}

/// Stall of RabbitMQ and of the leader. RabbitMQ stands still (SIGSTOP) until all senders wait for
/// it, then the leader's own process does, and RabbitMQ goes on: what it was sent it takes, and
/// nobody is left to say so. Three times of four the next connector server is then left without a
/// quorum: those who gave up on the one before ask it, and it surely sends nothing.
#[derive(Default)]
pub struct BrokerStall {
    broker: Option<u32>,
    /// The leader's process first.
    stopped: Vec<u32>,
}

/// Time limit for another member to run the connectors.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(3);
/// Time for which the next connector server has its quorum: less than senders wait for the word of
/// the one before once there is another.
const ALONE_AFTER: Duration = Duration::from_millis(400);

/// Waits for the member that runs the connectors after this one.
async fn successor(context: &RunContext, before: u64) -> Result<u64, NemesisError> {
    let mut others = context.cluster.members.iter().filter(|it| it.id != before);
    let alone = || NemesisError::NotPossible(format!("member {before} is alone"));
    let other = others.next_back().ok_or_else(alone)?;
    let url = other.admin("/v1/cluster/leader");
    let found = api::until("another connector server", FOLLOWS_WITHIN, || async {
        let told = api::get(&url).await?;
        let name = told["connector_server"]["name"].as_str();
        let server = name.and_then(id_of).map(|id| id as u64);
        match server.filter(|server| *server != before) {
            Some(server) => Ok(server),
            None => Err(ClusterError::NotYet(format!("it is as before: {told}"))),
        }
    });
    Ok(found.await?)
}

impl BrokerStall {
    fn stop(&mut self, pid: u32) {
        self.stopped.push(pid);
        signal(Some(pid), Signal::SIGSTOP);
    }
}

fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid {
        // Whoever is gone needs nothing.
        send(signal, &[pid]);
    }
}

#[async_trait]
impl Nemesis for BrokerStall {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let broker = context.broker.as_ref().ok_or(NemesisError::NoBroker)?;
        let who = context
            .cluster
            .leader()
            .await
            .ok_or(NemesisError::NoLeader)?;
        let leader = context
            .cluster
            .member(who)
            .pid()
            .ok_or(NemesisError::NotRunning(who))?;
        let waits = Duration::from_millis(rng.random_range(80..200));
        self.broker = broker.rabbit.lock().await.pid();
        self.broker.ok_or(NemesisError::BrokerDown)?;
        signal(self.broker, Signal::SIGSTOP);
        tokio::time::sleep(waits).await;
        self.stop(leader);
        signal(self.broker, Signal::SIGCONT);
        let told = format!("RabbitMQ stood still for {waits:?}, and then paused");
        let mut paused = vec![who];
        if rng.random_ratio(3, 4) {
            // Where nobody follows there is nobody to be left alone.
            if let Ok(next) = successor(context, who).await {
                tokio::time::sleep(ALONE_AFTER).await;
                let others = context.cluster.members.iter();
                for member in others.filter(|it| it.id != who && it.id != next) {
                    self.stop(member.pid().ok_or(NemesisError::NotRunning(member.id))?);
                    paused.push(member.id);
                }
            }
        }
        Ok(FaultTarget::new(&told, paused))
    }

    async fn probe(&mut self, _: &Arc<RunContext>) -> Result<String, NemesisError> {
        let state = |pid: u32| stat(pid).map(|stat| stat.state);
        let broker = self.broker.and_then(state);
        let stopped: Vec<_> = self.stopped.iter().map(|pid| state(*pid)).collect();
        let stands = |state: &Option<char>| *state == Some('T');
        match broker {
            Some(broker) if broker != 'T' && stopped.iter().all(stands) => Ok(format!(
                "RabbitMQ in state {broker}, {} members in T",
                stopped.len()
            )),
            broker => Err(NemesisError::NoEffect(format!("{broker:?}, {stopped:?}"))),
        }
    }

    async fn heal(&mut self, _: &Arc<RunContext>) -> Result<(), NemesisError> {
        signal(self.broker.take(), Signal::SIGCONT);
        for pid in self.stopped.drain(..) {
            signal(Some(pid), Signal::SIGCONT);
        }
        Ok(())
    }
}
