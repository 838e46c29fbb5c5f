//! Errors that a member may log, by the fault that explains them.

/// A beginning of nemeses' names (nothing: any nemesis), and a part of the line.
///
/// Each line is here for a reason that stands beside it; what is not here makes a run FAIL.
const EXPECTED: &[(&str, &str)] = &[
    // A disk that is full, or lies about what it has written, is told loudly, and the member
    // ends itself rather than go on.
    ("disk", "No space left on device"),
    ("disk", "IO error"),
    ("fsync", "IO error"),
    ("fsync", "Input/output error"),
    ("disk", "storage"),
    ("fsync", "storage"),
    // Damage that checksums tell is refused.
    ("corrupt", "checksum"),
    ("corrupt", "Corruption"),
    ("truncate", "Corruption"),
    ("flip", "Corruption"),
    // A broker that is gone can't be connected to.
    ("rabbitmq", "connection"),
    ("rabbitmq", "refused"),
    ("broker", "connection"),
    ("broker", "refused"),
];

/// Whether the faults of a run explain an error.
#[must_use]
pub fn is(line: &str, nemeses: &[&str]) -> bool {
    EXPECTED.iter().any(|(nemesis, part)| {
        line.contains(part) && nemeses.iter().any(|name| name.contains(nemesis))
    })
}
