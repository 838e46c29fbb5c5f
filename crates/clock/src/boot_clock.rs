//! Boot clock: goes on while the machine sleeps.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Returns the nanoseconds since the machine started, suspensions included (CLOCK_BOOTTIME):
/// every process on the machine reads the same, and nobody can set it.
///
/// `None` when the kernel refuses, which none does since 2.6.39.
#[allow(clippy::disallowed_methods, reason = "the one reader of this clock")]
pub fn boot_nanos() -> Option<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    u64::try_from(time.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;

    #[test]
    fn boot_clock_is_never_behind_the_monotonic_one() {
        let (boot, start) = (boot_nanos().unwrap(), Instant::now());
        std::thread::sleep(Duration::from_millis(2));
        let passed = start.elapsed();
        let since = Duration::from_nanos(boot_nanos().unwrap() - boot);
        assert!(since >= passed, "{since:?} {passed:?}");
    }
}
