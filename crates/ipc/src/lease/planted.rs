//! Clock that the planted bug `wall-clock-lease` reads in place of CLOCK_BOOTTIME.

use std::time::UNIX_EPOCH;

use quorate_clock::wall_time;

/// Returns the nanoseconds of the time of day, counted from 1970.
pub(super) fn wall_nanos() -> Option<u64> {
    let since = wall_time().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}
