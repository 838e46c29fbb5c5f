//! Errors that a member may log, by the fault that explains them.

/// Parts of nemeses' names (nothing: any), and parts of the lines that they explain. Each stands
/// here for a reason that stands beside it; a line that nothing explains makes a run FAIL.
const EXPECTED: &[(&str, &str)] = &[
    // A disk that is full or refuses to sync is told loudly, and the member ends itself
    // rather than go on.
    ("disk-full", "No space left on device"),
    ("disk-full", "the process ended by itself: exit status"),
    ("fsync", "Input/output error"),
    ("fsync", "IO error"),
    ("fsync", "the process ended by itself: exit status"),
    // The power of its disk is gone while it still runs.
    ("power", "Input/output error"),
    ("power", "IO error"),
    ("power", "the process ended by itself: exit status"),
    // Damage that checksums tell is refused.
    ("damage", "Corruption"),
    ("damage", "can't be trusted"),
    ("damage", "the process ended by itself: exit status"),
    // The kernel ends what has no memory left.
    ("memory", "the process ended by itself: signal: 9"),
];

/// Returns whether the faults of a run explain an error.
pub fn is(line: &str, nemeses: &[&str]) -> bool {
    EXPECTED.iter().any(|(nemesis, part)| {
        line.contains(part) && nemeses.iter().any(|name| name.contains(nemesis))
    })
}
