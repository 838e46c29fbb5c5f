//! Processes that are stopped (SIGSTOP) and go on later, in the middle of what they did.

use std::sync::Arc;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use quorate_testkit::process::{send, stat};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    kill::{VictimChoice, choose},
};
use crate::run_context::RunContext;

/// Processes that are stopped.
#[derive(Clone, Copy, Debug)]
pub enum PauseTarget {
    /// The leader's own process, not those of its connectors.
    Leader,
    /// A member with all of its connectors: the leader more often than not.
    Group,
    /// A single process of a connector, of the leader.
    Connector,
}

/// Pause of processes.
pub struct ProcessPause {
    what: PauseTarget,
    pids: Vec<u32>,
}

/// Makes a pause of these processes.
pub fn new(what: PauseTarget) -> Box<dyn Nemesis> {
    Box::new(ProcessPause {
        what,
        pids: Vec::new(),
    })
}

#[async_trait]
impl Nemesis for ProcessPause {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let whom = match self.what {
            PauseTarget::Group if rng.random_ratio(1, 3) => VictimChoice::One,
            _ => VictimChoice::Leader,
        };
        let ids = choose(context, whom, rng).await?;
        let member = context.cluster.member(ids[0]);
        let own = member.pid().ok_or(NemesisError::NotRunning(ids[0]))?;
        let connectors = member.connectors();
        let (told, pids) = match self.what {
            PauseTarget::Leader => ("stopped the process of", vec![own]),
            PauseTarget::Group => {
                // The parent first: a child that is seen to stop would be killed by it.
                let all = std::iter::once(own).chain(connectors).collect();
                ("stopped all processes of", all)
            }
            PauseTarget::Connector => {
                let none =
                    || NemesisError::NotPossible(format!("member {} has no connector", ids[0]));
                let one = connectors.choose(rng).ok_or_else(none)?;
                ("stopped a connector of", vec![*one])
            }
        };
        send(Signal::SIGSTOP, &pids);
        self.pids = pids;
        Ok(FaultTarget::new(told, ids))
    }

    async fn probe(&mut self, _: &Arc<RunContext>) -> Result<String, NemesisError> {
        let states: Vec<_> = self.pids.iter().map(|pid| (*pid, stat(*pid))).collect();
        let stopped = states
            .iter()
            .all(|(_, stat)| stat.is_some_and(|stat| stat.state == 'T'));
        if stopped {
            Ok(format!("state T: {:?}", self.pids))
        } else {
            Err(NemesisError::NoEffect(format!("{states:?}")))
        }
    }

    async fn heal(&mut self, _: &Arc<RunContext>) -> Result<(), NemesisError> {
        // Whoever is gone by now needs nothing.
        send(Signal::SIGCONT, &self.pids);
        Ok(())
    }
}
