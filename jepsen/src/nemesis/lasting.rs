//! Nemeses that last from their beginning to the end of the run.

/// Nemeses that are no blow but a state of things, from their beginning to the end of the run, in
/// which all has to go on; other faults are judged as if they weren't there.
pub const STEADY: &[&str] = &["far", "thin"];

/// Returns whether the nemesis of this name is a state of things.
pub fn lasts(nemesis: &str) -> bool {
    STEADY.contains(&nemesis)
}
