//! Sending under an idempotency key: the same key within ten minutes gives the first outcome.
//!
//! The argument is in `quorate_state`'s idempotency table. Three duties are left to this module: it
//! sends only after this request's own intent was answered `Fresh`; it records the outcome in the
//! log, whether the caller still waits or not; and it gives up an intent whose admission is not
//! known without ever sending for it.

use std::time::Duration;

use quorate_clock::{Instant, boot_nanos};
use quorate_ipc::SendOutcome;
use quorate_log::RateLimit;
use quorate_state::{
    Answer, Command, KnownSend, RecordedOutcome, SendAdmission, SendConclusion, SendIntent, SendKey,
};
use quorate_types::ProposeError;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout_at},
};
use tracing::{Instrument, debug_span};

use super::{
    local_send::SendCall,
    open_intents::{IntentEnding, IntentTicket, OpenIntent},
};
use crate::admin::{
    AdminContext,
    problem::{ApiProblem, FieldProblem},
};

/// The time for which recording an outcome is tried.
const CONCLUDE: Duration = Duration::from_secs(30);
const CONCLUDE_AGAIN: Duration = Duration::from_millis(200);

/// Each send may cause these lines.
static LOG_LIMIT: RateLimit = RateLimit::each_second();

/// Outcome of a call; an error: the request is refused as it is, before any attempt.
type CallResult = Result<SendOutcome, ApiProblem>;

/// Sends a message if this member is the connector server; under a key, unless that was done
/// before.
pub(super) async fn send(context: &AdminContext, call: &SendCall, deadline: Instant) -> CallResult {
    match call.send_key() {
        None => call.send_once(context, deadline).await,
        Some(key) => send_keyed(context, key, call, deadline).await,
    }
}

/// Sends a message under `key`, unless that was done before.
async fn send_keyed(
    context: &AdminContext,
    key: SendKey,
    call: &SendCall,
    deadline: Instant,
) -> CallResult {
    let (context, call) = (context.clone(), call.clone());
    let span = debug_span!(
        "message",
        cid = call.cid(),
        kind = key.kind.as_str(),
        name = key.name
    );
    let sending = async move { send_whole(&context, key, &call, deadline).await };
    // It goes on when the caller has gone, so that no intent is left without its end.
    let sending = tokio::spawn(sending.instrument(span.or_current()));
    sending.await.unwrap_or_else(|error| {
        Ok(SendOutcome::Unknown(format!(
            "the sending broke off: {error}"
        )))
    })
}

async fn send_whole(
    context: &AdminContext,
    key: SendKey,
    call: &SendCall,
    deadline: Instant,
) -> CallResult {
    let Ok(fingerprint) = call.fingerprint().await else {
        return not_sent("this member is ending");
    };
    while Instant::now() < deadline {
        let standing = *context.connectors.reign().borrow();
        if !standing.acting {
            return not_sent("this member does not run the connectors");
        }
        let open = context.intents.begin(standing.epoch);
        let (epoch, ticket) = open.ticket();
        let intent = SendIntent {
            key: key.clone(),
            epoch,
            ticket,
            fingerprint,
            now_ms: since_boot_ms(),
        };
        let within = deadline.min(context.cluster.write_deadline());
        let asked = context
            .cluster
            .propose(Command::BeginSend(Box::new(intent)), within)
            .await;
        let admission = match asked {
            Ok((_, Answer::SendAdmitted(admission))) => admission,
            Ok((_, Answer::Ignored(why))) => return not_sent(why),
            Ok((_, answer)) => {
                let subject = format!("{}/{}", key.kind, key.name);
                return match ApiProblem::from_answer(&subject, answer) {
                    Some(problem) => Err(problem),
                    None => not_sent("the log's answer is not understood"),
                };
            }
            Err(error) => {
                if matches!(error, ProposeError::Unknown(_)) {
                    // The intent may be in the log. Nothing is sent for it, now or later, and the
                    // next attempt of this request waits for its withdrawal.
                    spawn_conclusion(open, context, key, RecordedOutcome::Withdrawn);
                }
                return not_sent(format!("its key can't be recorded: {error}"));
            }
        };
        match admission {
            SendAdmission::Fresh => return begin(context, key, open, call, deadline).await,
            full @ SendAdmission::Full => {
                let subject = format!("{}/{}", key.kind, key.name);
                return match ApiProblem::from_answer(&subject, Answer::SendAdmitted(full)) {
                    Some(problem) => Err(problem),
                    None => not_sent("too many idempotency keys are in use"),
                };
            }
            SendAdmission::Known(known) => {
                if let Some(outcome) = earlier_outcome(context, &key, known, deadline).await {
                    return outcome;
                }
                // The earlier intent was withdrawn.
            }
        }
    }
    not_sent("its time was over before its key was free")
}

/// Sends the message of this request's own intent, and records the outcome.
async fn begin(
    context: &AdminContext,
    key: SendKey,
    open: OpenIntent,
    call: &SendCall,
    deadline: Instant,
) -> CallResult {
    let outcome = call.send_once(context, deadline).await;
    if let Some(recorded) = to_record(&outcome) {
        let concluding = spawn_conclusion(open, context, key, recorded);
        // A retry that comes after this answer finds the outcome, if there is time.
        let _ = timeout_at(deadline, concluding).await;
    }
    outcome
}

/// Returns the outcome of the intent that was there before; `None` if that was withdrawn.
async fn earlier_outcome(
    context: &AdminContext,
    key: &SendKey,
    known: KnownSend,
    deadline: Instant,
) -> Option<CallResult> {
    if !known.same {
        return Some(Err(ApiProblem::invalid(
            "the message was not sent",
            [FieldProblem::new(
                "Quorate-Idempotency-Key",
                &key.key,
                "was used for another message within the last ten minutes; a new message needs a new key",
            )],
        )));
    }
    let mut state = context.cluster.watch_state();
    let ticket = (known.epoch, known.ticket);
    let mut outcome = known.outcome;
    loop {
        if let Some(recorded) = outcome {
            return from_record(recorded).map(Ok);
        }
        // Asked first: an intent that is closed by then has left its outcome, if known, in the
        // state.
        let open = context.intents.end(ticket).is_some();
        let now = state.borrow_and_update().clone();
        let entry = now.idempotency().get(key.kind, &key.name, &key.key);
        match entry {
            Some(it) if (it.epoch, it.ticket) != (known.epoch, known.ticket) => return None,
            Some(it) if it.outcome.is_some() => {
                outcome = it.outcome.clone();
                continue;
            }
            Some(_) => {}
            None => return None,
        }
        if !open {
            // The intent is of an earlier reign, or it has ended here and its outcome is not known.
            return Some(Ok(SendOutcome::Unknown(
                "it was sent under this key, what became of it is not known, and it is not sent again".into(),
            )));
        }
        outcome = None;
        let changed = timeout_at(deadline, state.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            return Some(match context.intents.end(ticket) {
                Some(IntentEnding::Withdrawn) => {
                    not_sent("a try under its key that sent nothing is not withdrawn yet")
                }
                _ => Ok(SendOutcome::Unknown(
                    "it is being sent under this key, or its outcome was lost".into(),
                )),
            });
        }
    }
}

fn not_sent(why: impl Into<String>) -> CallResult {
    Ok(SendOutcome::NotSent(why.into()))
}

/// Returns the outcome to record; `None`: the intent without one means just that.
fn to_record(result: &CallResult) -> Option<RecordedOutcome> {
    match result {
        Ok(SendOutcome::Confirmed { message_id, .. }) => Some(RecordedOutcome::Confirmed {
            message_id: message_id.clone(),
        }),
        Ok(SendOutcome::Refused(why) | SendOutcome::Full(why)) => {
            Some(RecordedOutcome::refused(why))
        }
        Ok(SendOutcome::NotSent(_)) | Err(_) => Some(RecordedOutcome::Withdrawn),
        Ok(SendOutcome::Unknown(_)) => None,
    }
}

/// Returns the outcome that was recorded; `None` if nothing was sent.
fn from_record(recorded: RecordedOutcome) -> Option<SendOutcome> {
    match recorded {
        RecordedOutcome::Confirmed { message_id } => Some(SendOutcome::Confirmed {
            message_id,
            reply: None,
        }),
        RecordedOutcome::Refused { text } => Some(SendOutcome::Refused(text)),
        RecordedOutcome::Withdrawn => None,
    }
}

/// Records an outcome in the log, on a task of its own. The intent is open until that task ends.
fn spawn_conclusion(
    open: OpenIntent,
    context: &AdminContext,
    key: SendKey,
    outcome: RecordedOutcome,
) -> JoinHandle<()> {
    if outcome == RecordedOutcome::Withdrawn {
        open.withdraw();
    }
    let context = context.clone();
    let concluding = async move { conclude(&context, key, open.ticket(), outcome).await };
    tokio::spawn(concluding.in_current_span())
}

/// Records an outcome in the log, and retries for a while.
async fn conclude(
    context: &AdminContext,
    key: SendKey,
    ticket: IntentTicket,
    outcome: RecordedOutcome,
) {
    let until = Instant::now() + CONCLUDE;
    while Instant::now() < until {
        let conclusion = SendConclusion {
            key: key.clone(),
            epoch: ticket.0,
            ticket: ticket.1,
            outcome: outcome.clone(),
            now_ms: since_boot_ms(),
        };
        let deadline = context.cluster.write_deadline();
        let answered = context
            .cluster
            .propose(Command::FinishSend(Box::new(conclusion)), deadline)
            .await;
        match answered {
            Ok((_, Answer::Done { .. })) => return,
            // The outcome is in the log already, or is too old to matter. A withdrawal may have
            // come before the intent that it withdraws.
            Ok((_, Answer::Ignored(_))) if outcome != RecordedOutcome::Withdrawn => return,
            Ok((_, Answer::Ignored(_))) | Err(_) => {}
            Ok((_, answer)) => {
                if let Some(left_out) = LOG_LIMIT.due("refused") {
                    tracing::error!(%key, ?answer, left_out, "the outcome of a send was refused by the log");
                }
                return;
            }
        }
        sleep(CONCLUDE_AGAIN).await;
    }
    if let Some(left_out) = LOG_LIMIT.due("not recorded") {
        tracing::warn!(%key, left_out, "the outcome of a send could not be recorded: who asks for it is told that it is not known");
    }
}

/// Reads a clock that is never set.
fn since_boot_ms() -> u64 {
    // It can't fail: every kernel that has pidfds has this clock.
    boot_nanos().unwrap_or_default() / 1_000_000
}
