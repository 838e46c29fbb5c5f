//! How busy the machine's processors are, all of them together.

use std::fs;

/// The kernel's count at one moment, in ticks of 10 ms.
#[derive(Clone, Copy)]
pub struct Processors {
    idle: u64,
    all: u64,
}

impl Processors {
    /// As of now.
    pub fn now() -> Processors {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = first
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        Processors {
            // The fourth has nothing to do, the fifth waits for a disk.
            idle: ticks.iter().skip(3).take(2).sum(),
            // The last two are told in the first two already.
            all: ticks.iter().take(8).sum(),
        }
    }

    /// Which share of the time since then was worked, in percent.
    pub fn busy_since(self) -> f64 {
        let now = Processors::now();
        let all = now.all.saturating_sub(self.all).max(1) as f64;
        let idle = now.idle.saturating_sub(self.idle) as f64;
        (100.0 * (1.0 - idle / all)).clamp(0.0, 100.0).round()
    }
}
