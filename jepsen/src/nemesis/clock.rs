//! Wall clocks that jump. The monotonic clocks go on as ever.

use std::sync::Arc;

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    contract::{Nemesis, Target},
    error::NemesisError,
    kill::{Whom, choose},
};
use crate::run_context::Bed;

const SECOND: i64 = 1_000_000_000;
/// From what a bad time server does to what a dead battery does.
const JUMPS: [i64; 5] = [
    SECOND / 10,
    5 * SECOND,
    600 * SECOND,
    86_400 * SECOND,
    10 * 365 * 86_400 * SECOND,
];

const UNREADABLE: &str = "the switch of the library can't be read";
const UNWRITABLE: &str = "the switch of the library can't be written";

/// Makes them jump.
#[derive(Default)]
pub struct Jump {
    /// How often each member had been told a false time before.
    before: Vec<(u64, i64)>,
}

#[async_trait]
impl Nemesis for Jump {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError> {
        let whom = *[Whom::Leader, Whom::One, Whom::All]
            .choose(dice)
            .unwrap_or(&Whom::All);
        let ids = choose(bed, whom, dice).await?;
        let mut told = String::new();
        for id in &ids {
            let sign = if dice.random_ratio(1, 2) { 1 } else { -1 };
            let by = sign * JUMPS.choose(dice).copied().unwrap_or(SECOND);
            let switch = switch(bed, *id)?;
            let before = switch.told().map_err(NemesisError::io(UNREADABLE))?;
            self.before.push((*id, before));
            switch.wall(by).map_err(NemesisError::io(UNWRITABLE))?;
            told += &format!("{:+} s, ", by as f64 / SECOND as f64);
        }
        Ok(Target::of(&format!("wall clock by {told}of"), ids))
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, NemesisError> {
        let mut times = Vec::new();
        for (id, before) in &self.before {
            let now = switch(bed, *id)?
                .told()
                .map_err(NemesisError::io(UNREADABLE))?;
            match now > *before {
                true => times.push(now - before),
                // One that doesn't run asks for no time.
                false if bed.cluster.member(*id).pid().is_none() => {}
                false => {
                    let seen = format!("member {id} was told no false time yet");
                    return Err(NemesisError::NoEffect(seen));
                }
            }
        }
        Ok(format!("told a false time so often: {times:?}"))
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), NemesisError> {
        for (id, _) in &self.before {
            switch(bed, *id)?
                .wall(0)
                .map_err(NemesisError::io(UNWRITABLE))?;
        }
        Ok(())
    }
}

/// The switch of a member's library.
///
/// # Errors
/// When members were started without it.
pub fn switch(bed: &Bed, id: u64) -> Result<&crate::cluster::shim::Switch, NemesisError> {
    bed.cluster
        .shims
        .get(id as usize - 1)
        .ok_or(NemesisError::StartedWithout("the library"))
}
