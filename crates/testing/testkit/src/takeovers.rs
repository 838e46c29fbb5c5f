//! Takeovers in a row under message load: faults of the connector server, one after the
//! other, and what must be true of all of them together.
//!
//! There are two channels in the same cluster, one behind each fence of the broker, each
//! with a queue of its own. A member that was killed is a caught-up voter again before
//! the next fault, so that there is always a quorum.

mod bed;
pub mod checks;
mod fault;
mod fenced;
mod trial;

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

pub use bed::{FENCES, TakeoverBed};
pub use checks::judge;
pub use fault::ServerFault;
pub use trial::{NobodyTookOver, TakeoverTrial};

/// How many of which fault.
#[derive(Clone, Copy, Debug)]
pub struct TakeoverPlan {
    /// kill -9 of the connector server.
    pub kills: usize,
    /// SIGSTOP and SIGCONT of it, half of them together with its connectors' processes.
    pub stops: usize,
    /// SIGSTOP and SIGCONT of a connector's process alone.
    pub hangs: usize,
    /// Draws the order, and how long what is stopped is stopped.
    pub seed: u64,
}

impl TakeoverPlan {
    /// The faults in the order in which they come.
    fn faults(&self, rng: &mut StdRng) -> Vec<ServerFault> {
        let stops = [ServerFault::StopMember, ServerFault::StopProcesses];
        let hangs = FENCES.map(ServerFault::StopConnector);
        let kills = std::iter::repeat_n(ServerFault::Kill, self.kills);
        let stops = stops.into_iter().cycle().take(self.stops);
        let hangs = hangs.into_iter().cycle().take(self.hangs);
        let mut faults: Vec<_> = kills.chain(stops).chain(hangs).collect();
        faults.shuffle(rng);
        faults
    }
}

/// Carries a plan out; `told` is called after each trial with how many are still to come.
///
/// # Errors
/// The trial after which nobody took over.
pub async fn run(
    bed: &mut TakeoverBed,
    plan: TakeoverPlan,
    mut told: impl FnMut(&TakeoverTrial, usize),
) -> Result<Vec<TakeoverTrial>, NobodyTookOver> {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let faults = plan.faults(&mut rng);
    let mut trials = Vec::with_capacity(faults.len());
    for (n, fault) in faults.iter().enumerate() {
        let trial = trial::run(bed, n, *fault, &mut rng).await?;
        bed.fenced.look(&bed.cluster).await;
        told(&trial, faults.len() - n - 1);
        trials.push(trial);
    }
    Ok(trials)
}
