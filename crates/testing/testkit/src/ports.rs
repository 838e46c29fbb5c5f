//! Free ports below the range from which the kernel takes those of outgoing connections, so that
//! nothing takes one between two runs of a member.

use std::{
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use quorate_clock::rng;
use rand::Rng;

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Returns a port of 127.0.0.1 that nobody listens on, and that this process has not been given
/// lately.
pub fn free() -> u16 {
    // Programs that run at once begin at different places.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rng().random()));
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
