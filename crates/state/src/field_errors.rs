//! Errors of fields: what is wrong with a value, and where it stands.

use quorate_proto::command::FieldError;

/// Problem of a part that a later version has brought.
pub(super) const NOT_KNOWN: &str = "is not one that this version knows";

/// Places the errors of one of several: `resources[3].path`.
pub(super) fn in_batch(position: usize, errors: Vec<FieldError>) -> Vec<FieldError> {
    let placed = |it: FieldError| {
        let dot = if it.field.is_empty() { "" } else { "." };
        let field = format!("resources[{position}]{dot}{}", it.field);
        FieldError { field, ..it }
    };
    errors.into_iter().map(placed).collect()
}

/// Describes a resource in the log or in a snapshot that has parts which this program does not
/// know.
pub(super) fn not_as_known(kind: &str, name: &str, unknown: &[FieldError]) -> FieldError {
    let describe = |it: &FieldError| {
        if it.field.is_empty() {
            it.problem.clone()
        } else {
            format!("{}: {}", it.field, it.problem)
        }
    };
    let unknown: Vec<String> = unknown.iter().map(describe).collect();
    let problem = format!("is not as this program knows it ({})", unknown.join("; "));
    error(format!("{kind}/{name}"), "", problem)
}

/// Builds the error of one field.
pub(super) fn error(
    field: impl Into<String>,
    value: impl Into<String>,
    problem: impl Into<String>,
) -> FieldError {
    FieldError {
        field: field.into(),
        value: value.into(),
        problem: problem.into(),
    }
}
