//! What is shown while it runs: a line for each trial, with the time that is left.

use quorate_clock::Instant;

use crate::{plan::Case, trial::Measured};

/// Counts.
pub struct Progress {
    began: Instant,
    /// Seconds that the plan gives to everything, and to what is done.
    planned: f64,
    done: f64,
}

/// Starting and ending a system, in seconds.
pub const BOOT: f64 = 5.0;

impl Progress {
    /// Of work that was planned to take so many seconds.
    pub fn new(planned: f64) -> Progress {
        Progress {
            began: Instant::now(),
            planned,
            done: 0.0,
        }
    }

    /// Part of it is done.
    pub fn step(&mut self, seconds: f64) {
        self.done += seconds;
    }

    /// One trial is.
    pub fn trial(&mut self, lap: usize, case: &Case, result: &Result<Measured, String>) {
        self.step(case.seconds);
        let told = match result {
            Ok(measured) => {
                let shown = measured.iter().filter(|(_, value)| **value != 0.0);
                shown
                    .map(|(name, value)| format!("{name} {value:.1}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            }
            Err(problem) => format!("FAILED: {problem}"),
        };
        let (system, setting, fault) = (case.system(), case.setting(), case.fault.name());
        println!(
            "[{}] lap {} · {system} {setting} · {fault}: {told}",
            self.left(),
            lap + 1
        );
    }

    /// How long it may still take, from how long it took.
    fn left(&self) -> String {
        let elapsed = self.began.elapsed().as_secs_f64();
        // The plan is believed until a tenth of it is done.
        let pace = match self.done > self.planned / 10.0 {
            true => elapsed / self.done,
            false => 1.0,
        };
        format!(
            "{:.0} min left",
            ((self.planned - self.done).max(0.0) * pace / 60.0).ceil()
        )
    }
}
