//! What the caller is told became of its message.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode};
use quorate_ipc::Sent;
use quorate_proto::connector::Reply;
use serde::{Deserialize, Serialize};

use crate::admin::problem::Problem;

/// Stands on an answer that means: surely not sent, and trying again may help.
pub const NOT_SENT: HeaderName = HeaderName::from_static("quorate-not-sent");

/// The answer to a message that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentAnswer {
    /// The message's id.
    pub message_id: String,
    /// What the other side answered, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyAnswer>,
}

/// An answer of the other side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyAnswer {
    /// Empty where there is none.
    pub content_type: String,
    /// Its body.
    pub body_base64: String,
}

/// What became of a message.
#[derive(Debug)]
pub enum Outcome {
    /// The broker has it.
    Confirmed(SentAnswer),
    /// Surely not sent, and trying again would not help.
    Refused(String),
    /// Surely not sent.
    NotSent(String),
    /// It may or may not have been sent.
    Unknown(String),
    /// It was not even tried.
    Problem(Problem),
}

impl From<Sent> for Outcome {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Confirmed { message_id, reply } => Outcome::Confirmed(SentAnswer {
                message_id,
                reply: reply.map(|Reply { content_type, body }| ReplyAnswer {
                    content_type,
                    body_base64: STANDARD.encode(body),
                }),
            }),
            Sent::Refused(why) | Sent::Full(why) => Outcome::Refused(why),
            Sent::NotSent(why) => Outcome::NotSent(why),
            Sent::Unknown(why) => Outcome::Unknown(why),
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let problem = |status, code, why: String| Problem::new(status, code, why).into_response();
        match self {
            Outcome::Confirmed(answer) => Json(answer).into_response(),
            Outcome::Refused(why) => problem(
                StatusCode::BAD_GATEWAY,
                "refused",
                format!("the message was not sent: {why}"),
            ),
            Outcome::NotSent(why) => {
                let detail = format!("the message was not sent: {why}");
                let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
                let yes = HeaderValue::from_static("1");
                response.headers_mut().insert(NOT_SENT, yes);
                response
            }
            Outcome::Unknown(why) => problem(
                StatusCode::GATEWAY_TIMEOUT,
                "unknown_outcome",
                format!("the message may or may not have been sent: {why}"),
            ),
            Outcome::Problem(problem) => problem.into_response(),
        }
    }
}

/// The `detail` of a problem that another member told.
pub fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Told {
        detail: String,
    }
    let told = serde_json::from_slice::<Told>(body).map(|told| told.detail);
    let detail = told.unwrap_or_else(|_| "the connector server could not send it".into());
    let bare = detail.strip_prefix("the message was not sent: ");
    bare.unwrap_or(&detail).to_owned()
}
