//! What was promised, and whether the trials kept it.

use quorate_types::Timing;

use crate::{
    fault::Fault,
    plan::{Case, Setup, What},
    quorate::Fence,
    report::stats::{percentile, sorted},
    trial::Measured,
};

/// What a trial may take longer than the broker's release: the successor asks again until
/// it gets the queue.
const AFTER_RELEASE_MS: f64 = 50.0;

/// A goal for the first message of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Percentiles in ms, from at least so many trials.
    Spread { p50: f64, p95: f64, trials: usize },
    /// The median in ms, and no duplicate.
    Planned { p50: f64 },
    /// Every trial, in ms.
    Within(f64),
    /// Every trial: so many ms, or the broker's release if that is later.
    Released(f64),
}

impl Goal {
    /// The goal of a case, if it has one.
    pub fn of(case: &Case) -> Option<Goal> {
        let (
            Setup::Quorate {
                failover_ms,
                channels,
            },
            What::Message(fence),
        ) = (case.setup, case.what)
        else {
            return None;
        };
        let promise = failover_ms as f64;
        match (case.fault, fence) {
            (Fault::Kill, Fence::Lease) => {
                let lease = Timing::from_failover_ms(failover_ms).ok()?.lease;
                Some(Goal::Within(lease.as_secs_f64() * 1000.0 + 50.0))
            }
            (Fault::Kill, _) if channels > 1 => Some(Goal::Spread {
                p50: 50.0,
                p95: 240.0,
                trials: 20,
            }),
            (Fault::Kill, _) if failover_ms == 500 => Some(Goal::Spread {
                p50: 25.0,
                p95: 120.0,
                trials: 200,
            }),
            (Fault::Kill, _) => Some(Goal::Spread {
                p50: 25.0,
                p95: 120.0,
                trials: 20,
            }),
            (Fault::Term, _) => Some(Goal::Planned { p50: 25.0 }),
            (_, Fence::Exclusive) => Some(Goal::Released(promise)),
            (_, Fence::Lease | Fence::Management) => Some(Goal::Within(promise)),
        }
    }

    /// As the table shows it.
    pub fn text(self) -> String {
        match self {
            Goal::Spread { p50, p95, trials } => format!("p50 ≤ {p50}, p95 ≤ {p95}, n ≥ {trials}"),
            Goal::Planned { p50 } => format!("p50 ≤ {p50}, no duplicate"),
            Goal::Within(most) => format!("max ≤ {most:.0}"),
            Goal::Released(most) => {
                format!("max ≤ {most:.0}, or the broker's release + {AFTER_RELEASE_MS}")
            }
        }
    }

    /// What is missed, in a few words; empty when it is met.
    pub fn missed(self, trials: &[Measured]) -> String {
        let messages = sorted(trials, "message");
        let over = |name: &str, value: f64, most: f64| match value <= most {
            true => String::new(),
            false => format!("{name} "),
        };
        let missed = match self {
            Goal::Spread { p50, p95, trials } => {
                let few = if messages.len() < trials { "n " } else { "" };
                over("p50", percentile(&messages, 50), p50)
                    + &over("p95", percentile(&messages, 95), p95)
                    + few
            }
            Goal::Planned { p50 } => {
                let duplicates = trials
                    .iter()
                    .filter_map(|trial| trial.get("duplicates"))
                    .sum();
                over("p50", percentile(&messages, 50), p50) + &over("duplicates", duplicates, 0.0)
            }
            Goal::Within(most) => over("max", percentile(&messages, 100), most),
            Goal::Released(most) => {
                let late = trials.iter().filter(|trial| {
                    let release = trial
                        .get("release")
                        .map_or(0.0, |release| release + AFTER_RELEASE_MS);
                    trial
                        .get("message")
                        .is_some_and(|message| *message > most.max(release))
                });
                match late.count() {
                    0 => String::new(),
                    late => format!("{late} of {} ", trials.len()),
                }
            }
        };
        missed.trim_end().to_owned()
    }
}
