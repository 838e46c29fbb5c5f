//! One call of one service on this member: epoch check, deadline, tries, and a fence around panics.
//!
//! The epoch is checked before every try, against the newest that this member has applied by then:
//! once it has applied a newer reign, nothing of an older one is run here any more.
//!
//! An upstream's answer is a stream; a caller that can't take one gets it whole, within a bound. A
//! message is handled once its service has answered so: then the body is of no account.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_planted::{Mutant, planted};
use quorate_types::backoff::Backoff;
use tokio::time::{sleep, timeout_at};

use super::{
    api::{Origin, Request, Service, ServiceError, is_fenced},
    headers,
    service_answer::{DownloadError, ServiceAnswer, ServiceAnswerBody, UpstreamDownload},
    stream_options::StreamOptions,
    upstream::{self, HttpUpstream},
};

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Longest answer that is taken whole from an upstream, in bytes.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// Bytes that are read of an answer of little account, so that its connection is kept,
const LITTLE_BYTES_MAX: usize = 64 << 10;
/// and the time for that.
const LITTLE_WAIT: Duration = Duration::from_millis(100);

/// Each message may bring the line about.
static NOT_SENT_BACK: RateLimit = RateLimit::each_second();

/// Target of a service's call on this member.
#[derive(Clone)]
pub(super) enum ServiceTarget {
    /// A service of the program.
    Code(Arc<dyn Service>),
    /// A service reached over HTTP.
    Upstream(Arc<HttpUpstream>),
}

/// Rules of a call: how long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallRules {
    /// Longest time for one try.
    pub timeout: Duration,
    /// Further tries after one that failed: an error, or an answer of 5xx. A user who sets them
    /// agrees that the service may be run again.
    pub retries: u32,
}

impl CallRules {
    /// Returns the longest time for all tries and the pauses between them.
    pub(super) fn patience(&self) -> Duration {
        let mut pauses = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
        (0..self.retries).fold(self.timeout, |patience, _| {
            patience + pauses.step() + self.timeout
        })
    }
}

/// Calls `target` until it has succeeded, the tries are used up or the deadline is over.
pub(super) async fn call(
    target: &ServiceTarget,
    rules: CallRules,
    mut request: Request,
    flow: &StreamOptions,
    applied_epoch: impl Fn() -> u64,
) -> Result<ServiceAnswer, ServiceError> {
    if let Origin::Message(message) = request.origin.clone() {
        headers::describe_message(&mut request, &message);
    }
    // A message is tried once for each time that it is handed on: its channel's failure policy asks
    // the lease before the next try, which this member can't.
    let retries = match request.origin {
        Origin::Message(_) => 0,
        // The body is gone once it has been passed on.
        _ if flow.upload.is_some() => 0,
        _ => rules.retries,
    };
    let mut pauses = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
    let mut may_have_run = false;
    for tries_left in (0..=retries).rev() {
        check_epoch(&request.origin, applied_epoch())?;
        let outcome =
            attempt_call(target, rules.timeout, request.clone(), flow, &applied_epoch).await;
        let pause = pauses.step();
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

fn worth_another_try(outcome: &Result<ServiceAnswer, ServiceError>) -> bool {
    match outcome {
        Ok(answer) => answer.status.is_server_error(),
        Err(ServiceError::Fenced(_) | ServiceError::BadRequest(_)) => false,
        Err(_) => true,
    }
}

async fn attempt_call(
    target: &ServiceTarget,
    timeout: Duration,
    mut request: Request,
    flow: &StreamOptions,
    applied_epoch: impl Fn() -> u64,
) -> Result<ServiceAnswer, ServiceError> {
    let begun = Instant::now();
    let allowed = if begun + timeout <= request.deadline {
        timeout
    } else {
        rounded(request.remaining())
    };
    request.deadline = request.deadline.min(begun + timeout);
    let deadline = request.deadline;
    if deadline <= begun {
        return Err(ServiceError::NotRun(
            "the deadline was over before the service was run".into(),
        ));
    }
    let timed_out = ServiceError::TimedOut(allowed.as_millis() as u64);
    let is_message = matches!(request.origin, Origin::Message(_));
    let answer = match target {
        ServiceTarget::Upstream(upstream) => {
            let answer = match upstream.call(&request, flow, allowed).await {
                Ok(answer) if !flow.streams => whole(answer, &request).await,
                outcome => outcome,
            };
            answer.map_err(|error| match error {
                ServiceError::TimedOut(_) => timed_out,
                error => error,
            })?
        }
        ServiceTarget::Code(_) if flow.upload.is_some() => return Err(not_an_upstream()),
        ServiceTarget::Code(service) => {
            // Dropped as a whole after a panic, so that nothing sees it half done.
            let handled = AssertUnwindSafe(async { service.handle(request).await }).catch_unwind();
            match timeout_at(deadline, handled).await {
                Ok(Ok(outcome)) => outcome?.into(),
                Ok(Err(panic)) => return Err(ServiceError::Failed(describe_panic(&*panic))),
                Err(_) => return Err(timed_out),
            }
        }
    };
    if is_message && is_fenced(answer.status, &answer.headers) {
        return Err(ServiceError::Fenced(applied_epoch()));
    }
    Ok(answer)
}

/// Returns the error for a body that was passed on to an upstream that has just become another
/// service.
pub(super) fn not_an_upstream() -> ServiceError {
    ServiceError::NotRun("it was changed while it was called".into())
}

/// Rounds a remaining time, so that a text has no microseconds that passed while it was made.
pub(super) fn rounded(time: Duration) -> Duration {
    let ms = time.as_millis() as u64;
    Duration::from_millis(if ms < 100 { ms } else { (ms + 5) / 10 * 10 })
}

/// Returns an answer with its whole body, as far as anyone needs it.
pub(super) async fn whole(
    mut answer: ServiceAnswer,
    request: &Request,
) -> Result<ServiceAnswer, ServiceError> {
    let body = match std::mem::replace(&mut answer.body, ServiceAnswerBody::Whole(Bytes::new())) {
        ServiceAnswerBody::Whole(body) => body,
        ServiceAnswerBody::Stream(download) => collect(*download, &answer, request).await?,
    };
    answer.body = ServiceAnswerBody::Whole(body);
    Ok(answer)
}

async fn collect(
    download: UpstreamDownload,
    answer: &ServiceAnswer,
    request: &Request,
) -> Result<Bytes, ServiceError> {
    let deadline = request.deadline;
    let Origin::Message(message) = &request.origin else {
        return download
            .whole(REPLY_BYTES_MAX, deadline)
            .await
            .map_err(failed);
    };
    if !answer.status.is_success() {
        return Ok(download.beginning(LITTLE_BYTES_MAX, deadline).await);
    }
    if !upstream::is_done(&request.origin, answer) {
        return download
            .whole(REPLY_BYTES_MAX, deadline)
            .await
            .map_err(failed);
    }
    // Only ZeroMQ's REP sends an answer back to its client.
    if message.kind != "zmq_channel" {
        let soon = deadline.min(Instant::now() + LITTLE_WAIT);
        return Ok(download.beginning(LITTLE_BYTES_MAX, soon).await);
    }
    let whole = download.whole(REPLY_BYTES_MAX, deadline).await;
    Ok(whole.unwrap_or_else(|error| {
        if let Some(left_out) = NOT_SENT_BACK.due(&message.channel) {
            tracing::warn!(channel = message.channel, %error, left_out, "handled, but its answer can't be sent back");
        }
        Bytes::new()
    }))
}

fn failed(error: DownloadError) -> ServiceError {
    match error {
        DownloadError::TimedOut => ServiceError::TimedOut(0),
        error => ServiceError::Failed(error.to_string()),
    }
}

fn describe_panic(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("the service panicked: {message}")
}
