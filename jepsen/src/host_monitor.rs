//! Monitor of the machine's load: stolen time, waiting tasks, and late wake-ups.
//!
//! A machine that lets members miss their own timers causes elections by itself; a run on
//! it shows nothing of the product, so it is void.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use quorate_clock::Instant;

use crate::{
    history::{HostSample, HostSamples},
    run_clock::RunClock,
};

const NAP: Duration = Duration::from_millis(10);
/// Interval between two samples.
const LOOK: Duration = Duration::from_millis(250);

/// Thread that samples the machine's load until it is finished.
pub struct HostMonitor {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<HostSamples>,
}

impl HostMonitor {
    /// Starts to take samples.
    pub fn start(clock: RunClock) -> HostMonitor {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        HostMonitor {
            stop,
            thread: thread::spawn(move || look(clock, &stopped)),
        }
    }

    /// Ends the thread; gives the samples.
    pub fn finish(self) -> HostSamples {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn look(clock: RunClock, stop: &AtomicBool) -> HostSamples {
    let mut host = HostSamples::default();
    let (mut worst, mut since) = (0.0_f64, Instant::now());
    let mut before = processors();
    while !stop.load(Ordering::Relaxed) {
        let slept = Instant::now();
        thread::sleep(NAP);
        worst = worst.max(slept.elapsed().saturating_sub(NAP).as_secs_f64() * 1000.0);
        if since.elapsed() < LOOK {
            continue;
        }
        let now = processors();
        let all = now.all.saturating_sub(before.all).max(1);
        host.samples.push(HostSample {
            time: clock.now(),
            steal: 100.0 * now.steal.saturating_sub(before.steal) as f64 / all as f64,
            run_queue: now.running.saturating_sub(now.count) as f64,
            lag_ms: worst,
        });
        (before, worst, since) = (now, 0.0, Instant::now());
    }
    host
}

#[derive(Default)]
struct ProcessorTimes {
    all: u64,
    steal: u64,
    running: u64,
    count: u64,
}

fn processors() -> ProcessorTimes {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut seen = ProcessorTimes::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("cpu") => {
                let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
                // Guests' time stands in user's already.
                seen.all = ticks.iter().take(8).sum();
                seen.steal = ticks.get(7).copied().unwrap_or(0);
            }
            Some("procs_running") => {
                seen.running = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            }
            Some(name) if name.starts_with("cpu") => seen.count += 1,
            _ => {}
        }
    }
    seen
}
