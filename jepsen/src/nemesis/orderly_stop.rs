//! Orderly stop of a whole member.
//!
//! A service manager asks for it that signals all processes of a service at once: the member's own
//! and those of its connectors.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use nix::sys::signal::Signal;
use quorate_testkit::process::send;
use rand::{Rng, rngs::StdRng};
use reqwest::Method;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    kill::{VictimChoice, choose, start},
};
use crate::{cluster::api, run_context::RunContext};

/// A member ends within 10 s of SIGTERM.
const ENDS_WITHIN: Duration = Duration::from_secs(12);

/// Stops all processes of a member: of the leader more often than not.
#[derive(Default)]
pub struct StopAll {
    stopped: Option<u64>,
}

#[async_trait]
impl Nemesis for StopAll {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let whom = if rng.random_ratio(1, 4) {
            VictimChoice::One
        } else {
            VictimChoice::Leader
        };
        let ids = choose(context, whom, rng).await?;
        let member = context.cluster.member(ids[0]);
        let own = member.pid().ok_or(NemesisError::NotRunning(ids[0]))?;
        for pid in std::iter::once(own).chain(member.connectors()) {
            send(Signal::SIGTERM, &[pid]);
        }
        self.stopped = Some(ids[0]);
        Ok(FaultTarget::new("SIGTERM to all processes of", ids))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let nobody = || NemesisError::NoEffect("nobody was stopped".to_owned());
        let id = self.stopped.ok_or_else(nobody)?;
        let member = context.cluster.member(id);
        if member.pid().is_none() {
            return Ok("its process has ended".to_owned());
        }
        let ready = member.admin("/health/ready");
        match api::call(Method::GET, &ready, String::new()).await {
            Ok((503, _)) => Ok("it takes nothing new".to_owned()),
            other => Err(NemesisError::NoEffect(format!("{other:?}"))),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        let Some(id) = self.stopped else {
            return Ok(());
        };
        let member = context.cluster.member(id);
        if !member.ends_within(ENDS_WITHIN).await {
            let seen = format!("member {id} did not end within {ENDS_WITHIN:?}");
            return Err(NemesisError::NotPossible(seen));
        }
        // This end was asked for. Any other than an orderly one is held against it.
        member.ended.lock().retain(|it| it != "exit status: 0");
        Ok(start(context, &[id]).await?)
    }
}
