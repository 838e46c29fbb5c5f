//! One call of one service on this member: the epoch check, the deadline, the tries, and a
//! fence around panics.
//!
//! The epoch is checked before every try, against what this member has applied by then: once
//! it has applied a newer reign, nothing of an older one is run here any more.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use tokio::time::{sleep, timeout_at};

use super::{
    api::{Origin, Reply, Request, Service, ServiceError},
    headers,
    upstream::Upstream,
};

const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What runs when a service is called here.
#[derive(Clone)]
pub(super) enum Target {
    /// A service of the program.
    Code(Arc<dyn Service>),
    /// One reached over HTTP.
    Upstream(Arc<Upstream>),
}

/// How long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Longest time for one try.
    pub timeout: Duration,
    /// Further tries after one that failed: an error, or an answer of 5xx. The user who sets
    /// it says that the service may be run again.
    pub retries: u32,
}

/// Calls `target` until it has succeeded, the tries are used up or the deadline is over.
pub(super) async fn call(
    target: &Target,
    rules: Rules,
    mut request: Request,
    applied_epoch: impl Fn() -> u64,
) -> Result<Reply, ServiceError> {
    if let Origin::Message(message) = request.origin.clone() {
        headers::describe_message(&mut request, &message);
    }
    // A message is tried once for each time that it is handed on: its channel's failure
    // policy asks the lease before the next try, which nobody here can.
    let retries = match request.origin {
        Origin::Message(_) => 0,
        _ => rules.retries,
    };
    let mut pause = BACKOFF;
    let mut may_have_run = false;
    for tries_left in (0..=retries).rev() {
        check_epoch(&request.origin, applied_epoch())?;
        let outcome = once(target, rules.timeout, request.clone(), &applied_epoch).await;
        let in_time = Instant::now() + pause < request.deadline;
        if tries_left == 0 || !in_time || !worth_another_try(&outcome) {
            return match outcome {
                Err(ServiceError::NotRun(why)) if may_have_run => Err(ServiceError::Failed(
                    format!("{why}; an earlier try may have run"),
                )),
                outcome => outcome,
            };
        }
        may_have_run |= !matches!(outcome, Err(ServiceError::NotRun(_)));
        sleep(pause).await;
        pause = (pause * 2).min(BACKOFF_MAX);
    }
    Err(ServiceError::NotRun("no try was made".into()))
}

fn check_epoch(origin: &Origin, applied: u64) -> Result<(), ServiceError> {
    match origin {
        Origin::Message(_) if planted(Mutant::GatewayIgnoresEpochs) => Ok(()),
        Origin::Message(message) if message.epoch < applied => Err(ServiceError::Fenced(applied)),
        _ => Ok(()),
    }
}

fn worth_another_try(outcome: &Result<Reply, ServiceError>) -> bool {
    match outcome {
        Ok(reply) => reply.status.is_server_error(),
        Err(ServiceError::Fenced(_)) => false,
        Err(_) => true,
    }
}

async fn once(
    target: &Target,
    timeout: Duration,
    mut request: Request,
    applied_epoch: impl Fn() -> u64,
) -> Result<Reply, ServiceError> {
    let begun = Instant::now();
    request.deadline = request.deadline.min(begun + timeout);
    let deadline = request.deadline;
    if deadline <= begun {
        return Err(ServiceError::NotRun(
            "the deadline was over before the service was run".into(),
        ));
    }
    let allowed_ms = (deadline - begun).as_millis() as u64;
    let is_message = matches!(request.origin, Origin::Message(_));
    let reply = match target {
        Target::Upstream(upstream) => upstream.call(request).await?,
        Target::Code(service) => {
            // Dropped as a whole after a panic, so that nobody sees what it left half done.
            let handled = AssertUnwindSafe(async { service.handle(request).await }).catch_unwind();
            match timeout_at(deadline, handled).await {
                Ok(Ok(outcome)) => outcome?,
                Ok(Err(panic)) => return Err(ServiceError::Failed(describe_panic(&*panic))),
                Err(_) => return Err(ServiceError::TimedOut(allowed_ms)),
            }
        }
    };
    if is_message && reply.is_fenced() {
        return Err(ServiceError::Fenced(applied_epoch()));
    }
    Ok(reply)
}

fn describe_panic(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("the service panicked: {said}")
}
