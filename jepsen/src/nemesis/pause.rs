//! Processes that are stopped (SIGSTOP) and go on later, in the middle of what they did.

use std::sync::Arc;

use async_trait::async_trait;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    contract::{Nemesis, Target},
    error::NemesisError,
    kill::{Whom, choose},
};
use crate::{cluster::member::stat, run_context::Bed};

/// What is stopped.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// The leader's own process, not those of its connectors.
    Leader,
    /// A member with all of its connectors: the leader more often than not.
    Group,
    /// One process of a connector, of the leader.
    Connector,
}

/// Stops processes.
pub struct Pause {
    what: What,
    pids: Vec<u32>,
}

/// This kind.
pub fn of(what: What) -> Box<dyn Nemesis> {
    Box::new(Pause {
        what,
        pids: Vec::new(),
    })
}

#[async_trait]
impl Nemesis for Pause {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError> {
        let whom = match self.what {
            What::Group if dice.random_ratio(1, 3) => Whom::One,
            _ => Whom::Leader,
        };
        let ids = choose(bed, whom, dice).await?;
        let member = bed.cluster.member(ids[0]);
        let own = member.pid().ok_or(NemesisError::NotRunning(ids[0]))?;
        let connectors = member.connectors();
        let (told, pids) = match self.what {
            What::Leader => ("stopped the process of", vec![own]),
            What::Group => {
                // The parent first: a child that is seen to stop would be killed by it.
                let all = std::iter::once(own).chain(connectors).collect();
                ("stopped all processes of", all)
            }
            What::Connector => {
                let none =
                    || NemesisError::NotPossible(format!("member {} has no connector", ids[0]));
                let one = connectors.choose(dice).ok_or_else(none)?;
                ("stopped a connector of", vec![*one])
            }
        };
        for pid in &pids {
            let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGSTOP);
        }
        self.pids = pids;
        Ok(Target::of(told, ids))
    }

    async fn probe(&mut self, _: &Arc<Bed>) -> Result<String, NemesisError> {
        let states: Vec<_> = self.pids.iter().map(|pid| (*pid, stat(*pid))).collect();
        let stopped = states
            .iter()
            .all(|(_, stat)| matches!(stat, Some(('T', _))));
        match stopped {
            true => Ok(format!("state T: {:?}", self.pids)),
            false => Err(NemesisError::NoEffect(format!("{states:?}"))),
        }
    }

    async fn heal(&mut self, _: &Arc<Bed>) -> Result<(), NemesisError> {
        for pid in &self.pids {
            // Whoever is gone by now needs nothing.
            let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGCONT);
        }
        Ok(())
    }
}
