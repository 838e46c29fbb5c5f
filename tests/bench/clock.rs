//! The clock that all processes of a machine share: CLOCK_MONOTONIC, in ns.

use nix::time::{ClockId, clock_gettime};

/// Now.
#[allow(
    clippy::disallowed_methods,
    reason = "other programs of the machine stamp by the same clock"
)]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
