//! Wall clock: the time of day, for records that people read.

use std::time::SystemTime;

/// Returns the time of day, which jumps and differs from machine to machine: records are
/// stamped with it, and nothing is decided by it but whether a credential has expired.
#[allow(clippy::disallowed_methods, reason = "the one reader of this clock")]
pub fn wall_time() -> SystemTime {
    SystemTime::now()
}
