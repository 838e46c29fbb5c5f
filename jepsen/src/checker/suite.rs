//! Suite of all checkers, and the settings under which it runs.

use std::time::Duration;

use super::{
    check_report::CheckReport, config, coverage_floor, epochs, final_state, harness_rules, http,
    lasting_faults, linearizability, liveness, operation::ClientOperation, queue,
    recorded_run::RecordedRun, revision_order, sends, set, stale_epochs, starved_host, tries,
    watch,
};

/// Settings of the checkers.
#[derive(Clone, Debug)]
pub struct CheckSettings {
    /// A planted bug of the checkers, for the self-test: operations whose outcome isn't known
    /// are taken for operations that never were.
    pub ignore_infos: bool,
    /// The time for the search for an order of operations, all keys together.
    pub budget: Duration,
}

impl Default for CheckSettings {
    fn default() -> CheckSettings {
        CheckSettings {
            ignore_infos: false,
            budget: Duration::from_secs(60),
        }
    }
}

/// Runs every checker that has something to look at.
pub fn all(run: &RecordedRun, settings: &CheckSettings) -> Vec<CheckReport> {
    let mut all = vec![
        harness_rules::check(run),
        starved_host::check(run),
        coverage_floor::check(run),
        final_state::check(run),
        epochs::check(run),
        stale_epochs::check(run),
        liveness::check(run),
        lasting_faults::check(run),
    ];
    let asked = |names: &[&str]| {
        run.operations
            .iter()
            .any(|it| names.contains(&it.f.as_str()))
    };
    let workload = run.plan.workload.as_str();
    if ["register", "large"].contains(&workload) || asked(&["cas"]) {
        let operations = register(run, settings);
        let black_box = linearizability::check(&operations, settings.budget);
        let replayed = revision_order::check(&operations);
        all.push(revision_order::compare(&black_box, &replayed));
        all.extend([black_box, replayed]);
    }
    if workload == "set" || asked(&["add"]) {
        all.push(set::check(run));
    }
    if workload == "watch" || asked(&["append"]) {
        all.push(watch::check(run));
    }
    if workload == "config" || asked(&["apply"]) {
        all.push(config::check(run));
    }
    if workload == "queue" || asked(&["publish"]) {
        all.push(queue::check(run));
    }
    if workload == "tries" {
        all.push(tries::check(run));
    }
    if workload == "sends" || asked(&["send"]) {
        all.push(sends::check(run));
    }
    if workload == "http" || asked(&["http"]) {
        all.push(http::check(run));
    }
    all
}

/// Returns the operations on registers, as the settings want them seen.
pub fn register(run: &RecordedRun, settings: &CheckSettings) -> Vec<ClientOperation> {
    let of_a_register = |it: &&ClientOperation| it.writes() || it.f == "read";
    let operations = run.operations.iter().filter(of_a_register);
    let kept = operations.filter(|it| !settings.ignore_infos || !it.is_info());
    kept.cloned().collect()
}
