//! `GET /v1/audit`: who has changed what, of late. For administrators.
//!
//! The lines are written by the log ([`quorate_state::AuditTrail`]): every member has the same.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use quorate_state::AuditLine;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AdminContext,
    access::{self, Routes},
    problem::ApiProblem,
    revision_headers::with_revision,
};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// A line with its hashes, as it stands in files and answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// The line.
    pub line: Value,
    /// The hash of the line before, in hexadecimal digits.
    pub prev: String,
    /// The hash of this one.
    pub hash: String,
}

impl AuditRow {
    /// Takes a line of the state.
    pub fn new(line: &AuditLine) -> AuditRow {
        AuditRow {
            line: serde_json::from_str(&line.text).unwrap_or_default(),
            prev: hexadecimal(&line.prev),
            hash: hexadecimal(&line.hash),
        }
    }
}

/// Writes bytes in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `GET /v1/audit`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAnswer {
    /// The lines, oldest first.
    pub lines: Vec<AuditRow>,
    /// The number to go on from.
    pub next: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
    actor: Option<String>,
    kind: Option<String>,
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::AUDIT, audit)
}

async fn audit(
    State(context): State<AdminContext>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit is {limit}; it must be a whole number from 1 to {LIMIT_MAX}");
        return Err(ApiProblem::bad_request(detail));
    }
    let state = context.cluster.state();
    let has = |row: &AuditRow, field: &str, wanted: &Option<String>| {
        wanted.as_deref().is_none_or(|it| row.line[field] == it)
    };
    let mut next = query.from;
    let mut lines = Vec::new();
    for line in state.audit().lines_from(query.from) {
        if lines.len() == limit {
            break;
        }
        next = line.seq + 1;
        let row = AuditRow::new(line);
        if has(&row, "actor", &query.actor) && has(&row, "kind", &query.kind) {
            lines.push(row);
        }
    }
    let answer = AuditAnswer { lines, next };
    Ok(with_revision(state.revision(), Json(answer)))
}
