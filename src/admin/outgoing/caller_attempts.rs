//! The attempts to send a caller's message: here, or by the connector server.

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_state::{Reign, State};
use quorate_types::{MemberId, backoff::Backoff};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    WITHIN, idempotent_send,
    local_send::SendCall,
    outcome::{self, NOT_SENT},
    send_attempts::{AttemptResult, SendAttempts},
};
use crate::admin::{
    AdminContext,
    caller::Caller,
    peers::{PeerAnswer, PeerError},
    problem::ApiProblem,
};

/// The time by which a connector server has less than the member that waits for it.
const AHEAD: Duration = Duration::from_millis(100);
/// The pause between two attempts under one reign.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LAST: Duration = Duration::from_millis(250);
/// The time for which a connector server is waited for once there is another one.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The attempts for a request of a caller.
pub(super) struct CallerAttempts<'a> {
    context: &'a AdminContext,
    caller: &'a Caller,
    call: &'a SendCall,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    deadline: Instant,
    state: watch::Receiver<Arc<State>>,
    /// The reign of the latest attempt.
    reign: Reign,
    retry: Backoff,
}

impl<'a> CallerAttempts<'a> {
    /// Starts without an attempt. `uri` and `headers` are those of the request.
    pub(super) fn new(
        context: &'a AdminContext,
        caller: &'a Caller,
        call: &'a SendCall,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        deadline: Instant,
    ) -> CallerAttempts<'a> {
        CallerAttempts {
            context,
            caller,
            call,
            uri,
            headers,
            deadline,
            state: context.cluster.watch_state(),
            reign: Reign::default(),
            retry: Backoff::new(LOOK_FIRST, LOOK_LAST),
        }
    }
}

impl SendAttempts for CallerAttempts<'_> {
    type Answer = Response;

    async fn attempt(&mut self) -> AttemptResult<Response> {
        let context = self.context;
        self.reign = *self.state.borrow_and_update().reign();
        let holder = self.reign.holder.filter(|_| !self.reign.released);
        if holder == Some(context.me()) {
            return local_result(idempotent_send::send(context, self.call, self.deadline).await);
        }
        let Some(holder) = holder
            .and_then(|id| context.member(id))
            .filter(|holder| !context.is_silent(holder.id))
        else {
            return AttemptResult::NoConnectorServer;
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut headers = self.headers.clone();
        // The connector server's answer is to come before the wait for it is over.
        let within = left.saturating_sub(AHEAD.min(left / 4));
        headers.insert(WITHIN, (within.as_millis() as u64).into());
        let path = self.uri.path_and_query().map_or("/", |it| it.as_str());
        let (admin, body) = (&holder.member.admin, self.call.body());
        let peers = context.peers.on_behalf_of(self.caller);
        let asked = peers.pass_on(admin, path, headers, body, left);
        tokio::select! {
            asked = asked => remote_result(asked),
            () = replaced(context, holder.id) => AttemptResult::Unknown(
                "the connector server that it was passed to fell silent, and there is another one".into(),
            ),
        }
    }

    async fn pause(&mut self) -> bool {
        let wait = self.retry.step();
        // So short an attempt would leave no time for the connector server's answer.
        if Instant::now() + wait + AHEAD >= self.deadline {
            return false;
        }
        // The connector server of another reign may be able to at once.
        let reign = self.reign;
        let another = self.state.wait_for(|state| *state.reign() != reign);
        if timeout(wait, another).await.is_ok() {
            self.retry.reset();
        }
        true
    }
}

/// Returns the result of an attempt on this member.
fn local_result(sent: Result<SendOutcome, ApiProblem>) -> AttemptResult<Response> {
    match sent {
        Ok(SendOutcome::NotSent(why)) => AttemptResult::NotSent(why),
        Ok(outcome) => AttemptResult::Answered(outcome::into_response(outcome)),
        Err(problem) => AttemptResult::Rejected(problem.into_response()),
    }
}

/// Returns the result of an attempt at the connector server.
fn remote_result(asked: Result<PeerAnswer, PeerError>) -> AttemptResult<Response> {
    match asked {
        Ok(answer) if answer.headers.contains_key(NOT_SENT) => {
            AttemptResult::NotSent(outcome::detail(&answer.body))
        }
        Ok(answer) => match answer.status {
            StatusCode::OK | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                AttemptResult::Answered(answer.into_response())
            }
            _ => AttemptResult::Rejected(answer.into_response()),
        },
        Err(error @ PeerError::NotAsked(..)) => AttemptResult::NotSent(error.to_string()),
        Err(error) => AttemptResult::Unknown(error.to_string()),
    }
}

/// Returns when another member has been the connector server for a while.
async fn replaced(context: &AdminContext, holder: MemberId) {
    let mut state = context.cluster.watch_state();
    let other = |state: &Arc<State>| {
        let reign = state.reign();
        !reign.released && reign.holder.is_some_and(|it| it != holder)
    };
    if state.wait_for(other).await.is_err() {
        return std::future::pending().await;
    }
    sleep(LAST_WORD).await;
}
