//! Problems that members answer: problem+json (RFC 9457).

use http::StatusCode;
use serde::Deserialize;

use crate::cli::error::CliError;

/// A problem as the client reads it; fields that are missing are made up from the status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProblemAnswer {
    /// The code, for programs: `no_quorum`, `unknown_outcome`, ...
    pub code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    errors: Vec<ProblemField>,
    #[serde(skip)]
    status: StatusCode,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemField {
    field: String,
    value: Option<String>,
    problem: String,
}

impl ProblemAnswer {
    /// Reads the problem in an answer's body.
    pub fn from_body(status: StatusCode, body: &[u8]) -> ProblemAnswer {
        let problem = serde_json::from_slice(body).unwrap_or_default();
        ProblemAnswer { status, ..problem }
    }

    /// Turns the problem into the command's error, which sets the exit code.
    pub fn into_failure(self) -> CliError {
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
            StatusCode::SERVICE_UNAVAILABLE => CliError::Unreachable(text),
            _ => CliError::Refused(text),
        }
    }
}
