//! RabbitMQ that is killed, and starts again with what it had stored; and one that stands
//! still until the leader does.

use std::{net::TcpStream, sync::Arc, time::Duration};

use async_trait::async_trait;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{Rng, rngs::StdRng};

use super::{Nemesis, Target};
use crate::{bed::Bed, cluster::member::stat};

/// Kills it.
#[derive(Default)]
pub struct Rabbit;

#[async_trait]
impl Nemesis for Rabbit {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, String> {
        let broker = bed.broker.as_ref().ok_or("this workload has no broker")?;
        let mut rabbit = broker.rabbit.lock().await;
        let told = match dice.random_ratio(3, 4) {
            true => {
                rabbit.kill();
                "killed RabbitMQ"
            }
            false => {
                rabbit.stop();
                "stopped RabbitMQ"
            }
        };
        Ok(Target {
            told: told.to_owned(),
            members: Vec::new(),
        })
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, String> {
        let broker = bed.broker.as_ref().ok_or("this workload has no broker")?;
        match TcpStream::connect(broker.address) {
            Ok(_) => Err("it takes connections".to_owned()),
            Err(error) => Ok(error.to_string()),
        }
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), String> {
        let Some(broker) = &bed.broker else {
            return Ok(());
        };
        let mut rabbit = broker.rabbit.lock().await;
        if rabbit.pid().is_none() {
            rabbit.up().await;
        }
        Ok(())
    }
}

/// RabbitMQ stands still (SIGSTOP) until all senders wait for it, then the leader's own
/// process does, and RabbitMQ goes on: what it was sent it takes, and nobody is left to say
/// so.
#[derive(Default)]
pub struct Held {
    broker: Option<u32>,
    leader: Option<u32>,
}

fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid {
        // Whoever is gone needs nothing.
        let _ = kill(Pid::from_raw(pid as i32), signal);
    }
}

#[async_trait]
impl Nemesis for Held {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, String> {
        let broker = bed.broker.as_ref().ok_or("this workload has no broker")?;
        let who = bed.cluster.leader().await.ok_or("nobody leads")?;
        let leader = bed.cluster.member(who).pid().ok_or("it does not run")?;
        let waits = Duration::from_millis(dice.random_range(80..200));
        self.broker = broker.rabbit.lock().await.pid();
        self.broker.ok_or("RabbitMQ does not run")?;
        signal(self.broker, Signal::SIGSTOP);
        tokio::time::sleep(waits).await;
        self.leader = Some(leader);
        signal(self.leader, Signal::SIGSTOP);
        signal(self.broker, Signal::SIGCONT);
        let told = format!("RabbitMQ stood still for {waits:?}, and then paused");
        Ok(Target::of(&told, vec![who]))
    }

    async fn probe(&mut self, _: &Arc<Bed>) -> Result<String, String> {
        let states = [self.broker, self.leader].map(|pid| pid.and_then(stat));
        match states {
            [Some((broker, _)), Some(('T', _))] if broker != 'T' => {
                Ok(format!("RabbitMQ in state {broker}, the leader in T"))
            }
            other => Err(format!("{other:?}")),
        }
    }

    async fn heal(&mut self, _: &Arc<Bed>) -> Result<(), String> {
        signal(self.broker.take(), Signal::SIGCONT);
        signal(self.leader.take(), Signal::SIGCONT);
        Ok(())
    }
}
