//! Members that are far from each other: a round trip of 60 ms, 20 more or less.
//!
//! That is for all of them to live with, and to elect in.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::rngs::StdRng;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    link_latency::slowness,
};
use crate::run_context::RunContext;

/// Delay one way, at least, and the most that is added.
const ONE_WAY: Duration = Duration::from_millis(20);
const MORE: Duration = Duration::from_millis(20);

/// Distance between all members.
#[derive(Default)]
pub struct FarMembers {
    /// The number of pieces that had been delayed before.
    before: u64,
}

#[async_trait]
impl Nemesis for FarMembers {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        _: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        self.before = slowness(context)?.delayed();
        slowness(context)?.set(ONE_WAY, MORE);
        // Nobody is taken out by it.
        Ok(FaultTarget {
            description: "60 ms there and back, 20 more or less, between all".to_owned(),
            members: Vec::new(),
        })
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        match slowness(context)?.delayed() - self.before {
            0 => Err(NemesisError::NoEffect("nothing was delayed yet".to_owned())),
            count => Ok(format!("{count} pieces were delayed so far")),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        slowness(context)?.set(Duration::ZERO, Duration::ZERO);
        Ok(())
    }
}
