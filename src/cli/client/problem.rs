//! What a member says when it does not do as asked: problem+json (RFC 9457).

use http::StatusCode;
use serde::Deserialize;

use super::Answer;
use crate::cli::failure::Failure;

/// A problem as the client reads it; whatever is missing is made up from the status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// For programs: `no_quorum`, `unknown_outcome`, ...
    pub code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    errors: Vec<FieldError>,
    #[serde(skip)]
    status: StatusCode,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct FieldError {
    field: String,
    value: Option<String>,
    problem: String,
}

impl Problem {
    /// The problem in an answer.
    pub fn of(answer: &Answer) -> Problem {
        let told = serde_json::from_slice(&answer.body).unwrap_or_default();
        Problem {
            status: answer.status,
            ..told
        }
    }

    /// What to tell the user, and how to exit.
    pub fn into_failure(self) -> Failure {
        let mut text = self
            .detail
            .or(self.title)
            .unwrap_or_else(|| format!("the member answered {}", self.status));
        for error in &self.errors {
            text.push_str(&format!("\n  {}", error.field));
            if let Some(value) = error.value.as_deref().filter(|value| !value.is_empty()) {
                text.push_str(&format!(" = {value}"));
            }
            text.push_str(&format!(": {}", error.problem));
        }
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => Failure::Unreachable(text),
            _ => Failure::Refused(text),
        }
    }
}
