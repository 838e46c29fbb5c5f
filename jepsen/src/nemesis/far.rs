//! Members that are far from each other, from some moment on: a round trip of 60 ms that is
//! up to 20 ms more or less. That is for all of them to live with, and to elect in.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::rngs::StdRng;

use super::{
    contract::{Nemesis, Target},
    error::NemesisError,
    latency::slowness,
};
use crate::run_context::Bed;

/// One way, at least, and how much more that may be.
const ONE_WAY: Duration = Duration::from_millis(20);
const MORE: Duration = Duration::from_millis(20);

/// Puts them far apart.
#[derive(Default)]
pub struct Far {
    /// How many pieces had been delayed before.
    before: u64,
}

#[async_trait]
impl Nemesis for Far {
    async fn begin(&mut self, bed: &Arc<Bed>, _: &mut StdRng) -> Result<Target, NemesisError> {
        self.before = slowness(bed)?.delayed();
        slowness(bed)?.set(ONE_WAY, MORE);
        // Nobody is taken out by it.
        Ok(Target {
            told: "60 ms there and back, 20 more or less, between all".to_owned(),
            members: Vec::new(),
        })
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, NemesisError> {
        match slowness(bed)?.delayed() - self.before {
            0 => Err(NemesisError::NoEffect("nothing was delayed yet".to_owned())),
            count => Ok(format!("{count} pieces were delayed so far")),
        }
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), NemesisError> {
        slowness(bed)?.set(Duration::ZERO, Duration::ZERO);
        Ok(())
    }
}
