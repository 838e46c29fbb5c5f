//! Wall clocks that jump. The monotonic clocks go on as ever.

use std::sync::Arc;

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    kill::{VictimChoice, choose},
};
use crate::run_context::RunContext;

const SECOND: i64 = 1_000_000_000;
/// Jumps from those of a bad time server to that of a dead battery.
const JUMPS: [i64; 5] = [
    SECOND / 10,
    5 * SECOND,
    600 * SECOND,
    86_400 * SECOND,
    10 * 365 * 86_400 * SECOND,
];

const UNREADABLE: &str = "the switch of the library can't be read";
const UNWRITABLE: &str = "the switch of the library can't be written";

/// Jump of members' wall clocks.
#[derive(Default)]
pub struct ClockJump {
    /// The number of false times that each member had been told before.
    before: Vec<(u64, i64)>,
}

#[async_trait]
impl Nemesis for ClockJump {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let whom = *[VictimChoice::Leader, VictimChoice::One, VictimChoice::All]
            .choose(rng)
            .unwrap_or(&VictimChoice::All);
        let ids = choose(context, whom, rng).await?;
        let mut told = String::new();
        for id in &ids {
            let sign = if rng.random_ratio(1, 2) { 1 } else { -1 };
            let by = sign * JUMPS.choose(rng).copied().unwrap_or(SECOND);
            let switch = switch(context, *id)?;
            let before = switch.false_times().map_err(NemesisError::io(UNREADABLE))?;
            self.before.push((*id, before));
            switch.wall(by).map_err(NemesisError::io(UNWRITABLE))?;
            told += &format!("{:+} s, ", by as f64 / SECOND as f64);
        }
        Ok(FaultTarget::new(&format!("wall clock by {told}of"), ids))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let mut times = Vec::new();
        for (id, before) in &self.before {
            let now = switch(context, *id)?
                .false_times()
                .map_err(NemesisError::io(UNREADABLE))?;
            if now > *before {
                times.push(now - before);
            } else if context.cluster.member(*id).pid().is_some() {
                let seen = format!("member {id} was told no false time yet");
                return Err(NemesisError::NoEffect(seen));
            }
            // One that doesn't run asks for no time.
        }
        Ok(format!("told a false time so often: {times:?}"))
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        for (id, _) in &self.before {
            switch(context, *id)?
                .wall(0)
                .map_err(NemesisError::io(UNWRITABLE))?;
        }
        Ok(())
    }
}

/// The switch of a member's library.
pub fn switch(
    context: &RunContext,
    id: u64,
) -> Result<&crate::cluster::shim::ShimSwitch, NemesisError> {
    context
        .cluster
        .shims
        .get(id as usize - 1)
        .ok_or(NemesisError::StartedWithout("the library"))
}
