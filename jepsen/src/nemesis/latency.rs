//! Links between members on which everything comes late, and now and then later still.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::{rngs::StdRng, seq::IndexedRandom};

use super::{
    contract::{Nemesis, Target},
    error::NemesisError,
};
use crate::{cluster::relay::Slowness, run_context::Bed};

/// ms one way, and how much more that may be: from what the promise bears to what it can't.
const SLOW: [(u64, u64); 5] = [(3, 2), (8, 8), (25, 25), (60, 100), (200, 200)];

/// Slows all links down.
#[derive(Default)]
pub struct Latency {
    /// How many pieces had been delayed before.
    before: u64,
}

pub(super) fn slowness(bed: &Bed) -> Result<&Slowness, NemesisError> {
    let it = bed.cluster.slowness.as_deref();
    it.ok_or(NemesisError::StartedWithout("relays"))
}

#[async_trait]
impl Nemesis for Latency {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError> {
        let (delay, jitter) = *SLOW.choose(dice).unwrap_or(&(8, 8));
        let [by, more] = [delay, jitter].map(Duration::from_millis);
        self.before = slowness(bed)?.delayed();
        slowness(bed)?.set(by, more);
        let ids = bed.cluster.members.iter().map(|member| member.id);
        let told = format!("{delay} to {} ms one way between", delay + jitter);
        Ok(Target::of(&told, ids.collect()))
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
