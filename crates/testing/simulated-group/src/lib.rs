//! Simulated group of members around the real connectors: leadership and state are watches that
//! the tests move.
#![forbid(unsafe_code)]

mod group;
mod member;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use quorate_testkit::eventually;
pub use quorate_testkit::process::is_alive;

pub use group::{Behaviour, ServiceCall, SimulatedGroup, status};
pub use member::{SimulatedMember, rules};

/// How long anything that should take a moment may take on a busy machine.
pub const WAIT: Duration = Duration::from_secs(60);

/// Returns a name that no other test uses.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!(
        "{what}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Waits until `condition` gives something.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    eventually::some(what, WAIT, condition).await
}

/// Returns the bodies `0` to `n - 1`.
pub fn bodies(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|n| n.to_string())
}
