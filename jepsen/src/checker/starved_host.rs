//! Checker of the machine: one so starved that members missed their timers voids a run.

use super::{check_report::CheckReport, finding::FindingGrade, recorded_run::RecordedRun};

/// Share of the processors that the hypervisor may take, in per cent, on average.
const STEAL: f64 = 15.0;
/// Share of the promise that one look may be late: an election needs at least half of it.
const WORST_LAG: f64 = 0.5;
/// Nineteen of twenty looks must be below this share of the promise: about a heartbeat.
const USUAL_LAG: f64 = 1.0 / 18.0;

/// Looks at the samples.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("host");
    let samples = run.host.as_ref().map_or(&[][..], |host| &host.samples);
    if samples.is_empty() {
        if run.host.is_some() {
            let what = "nobody has looked how starved the machine was".to_owned();
            report.find(FindingGrade::Unsure, "no samples", what);
        }
        return report;
    }
    let promise = run.plan.failover_ms as f64;
    let mean_steal = samples.iter().map(|it| it.steal).sum::<f64>() / samples.len() as f64;
    let mut lags: Vec<f64> = samples.iter().map(|it| it.lag_ms).collect();
    lags.sort_by(f64::total_cmp);
    let worst = lags.last().copied().unwrap_or(0.0);
    let usual = lags[(lags.len() - 1) * 95 / 100];
    report.worst("host.lag_ms.worst", worst as u64);
    report.worst("host.lag_ms.p95", usual as u64);
    report.worst("host.steal_percent", mean_steal as u64);
    let starved = if mean_steal > STEAL {
        format!("the hypervisor took {mean_steal:.0} % of the processors; up to {STEAL} % is borne")
    } else if worst > promise * WORST_LAG {
        format!(
            "a task woke up {worst:.0} ms too late; up to {:.0} ms is borne",
            promise * WORST_LAG
        )
    } else if usual > promise * USUAL_LAG {
        format!(
            "one look in twenty found a task {usual:.0} ms late or more; up to {:.0} ms is borne",
            promise * USUAL_LAG
        )
    } else {
        return report;
    };
    report.count("host.starved", 1);
    report.find(FindingGrade::Unsure, "starved machine", starved);
    report
}
