//! Time and chance: the only place where Quorate reads a clock or draws a random number.
//!
//! Whatever measures, waits or draws does so by what is here, and `clippy.toml` forbids the
//! ways around it. So everything in a process has one clock: what is stamped and what timers
//! wait for is the same time, also where tokio's time is paused or is not the machine's.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod boot_clock;
mod rng;
mod wall_clock;

pub use tokio::time::Instant;

pub use boot_clock::boot_nanos;
pub use rng::{id128, rng};
pub use wall_clock::wall_time;
