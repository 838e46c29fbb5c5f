//! The outcome of a message, as the caller is answered.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode};
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Reply;
use serde::{Deserialize, Serialize};

use crate::admin::problem::ApiProblem;

/// The header of an answer that means: surely not sent, and trying again may help.
pub const NOT_SENT: HeaderName = HeaderName::from_static("quorate-not-sent");

/// The answer to a message that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentAnswer {
    /// The message's id.
    pub message_id: String,
    /// The reply of the other side, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyAnswer>,
}

/// A reply of the other side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyAnswer {
    /// The content type; empty where there is none.
    pub content_type: String,
    /// The reply's body.
    pub body_base64: String,
}

/// Returns the answer to the caller.
pub fn into_response(outcome: SendOutcome) -> Response {
    let problem = |status, code, why: String| ApiProblem::new(status, code, why).into_response();
    match outcome {
        SendOutcome::Confirmed { message_id, reply } => Json(SentAnswer {
            message_id,
            reply: reply.map(|Reply { content_type, body }| ReplyAnswer {
                content_type,
                body_base64: STANDARD.encode(body),
            }),
        })
        .into_response(),
        SendOutcome::Refused(why) | SendOutcome::Full(why) => problem(
            StatusCode::BAD_GATEWAY,
            "refused",
            format!("the message was not sent: {why}"),
        ),
        SendOutcome::NotSent(why) => {
            let detail = format!("the message was not sent: {why}");
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
            let yes = HeaderValue::from_static("1");
            response.headers_mut().insert(NOT_SENT, yes);
            response
        }
        SendOutcome::Unknown(why) => problem(
            StatusCode::GATEWAY_TIMEOUT,
            "unknown_outcome",
            format!("the message may or may not have been sent: {why}"),
        ),
    }
}

/// The `detail` of a problem that another member answered.
pub fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct ProblemDetail {
        detail: String,
    }
    let problem = serde_json::from_slice::<ProblemDetail>(body).map(|problem| problem.detail);
    let detail = problem.unwrap_or_else(|_| "the connector server could not send it".into());
    let bare = detail.strip_prefix("the message was not sent: ");
    bare.unwrap_or(&detail).to_owned()
}
