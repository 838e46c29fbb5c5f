//! RabbitMQ that is killed. It starts again with what it had stored.

use std::{net::TcpStream, sync::Arc};

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng};

use super::{Nemesis, Target};
use crate::bed::Bed;

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
