//! Links between members on which everything comes late, and now and then later still.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::{rngs::StdRng, seq::IndexedRandom};

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
};
use crate::{cluster::relay::RelayDelay, run_context::RunContext};

/// Delays in ms one way, and how much more they may be: from what the promise bears to what it
/// can't.
const SLOW: [(u64, u64); 5] = [(3, 2), (8, 8), (25, 25), (60, 100), (200, 200)];

/// Slows all links down.
#[derive(Default)]
pub struct LinkLatency {
    /// The number of pieces that had been delayed before.
    before: u64,
}

pub(super) fn slowness(context: &RunContext) -> Result<&RelayDelay, NemesisError> {
    let it = context.cluster.slowness.as_deref();
    it.ok_or(NemesisError::StartedWithout("relays"))
}

#[async_trait]
impl Nemesis for LinkLatency {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let (delay, jitter) = *SLOW.choose(rng).unwrap_or(&(8, 8));
        let [by, more] = [delay, jitter].map(Duration::from_millis);
        self.before = slowness(context)?.delayed();
        slowness(context)?.set(by, more);
        let ids = context.cluster.members.iter().map(|member| member.id);
        let told = format!("{delay} to {} ms one way between", delay + jitter);
        Ok(FaultTarget::new(&told, ids.collect()))
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
