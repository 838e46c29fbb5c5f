//! Nemeses that last from their beginning to the end of the run.

/// No blow but a state of things, from its beginning to the end of the run, in which all has
/// to go on; what other faults do is told as if it weren't there.
pub const STEADY: &[&str] = &["far", "thin"];

/// Whether the nemesis of this name is a state of things.
pub fn lasts(nemesis: &str) -> bool {
    STEADY.contains(&nemesis)
}
