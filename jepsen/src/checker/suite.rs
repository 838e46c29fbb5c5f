//! The suite of all checkers, and the settings under which it runs.

use std::time::Duration;

use super::{
    check_report::Checked, config, discipline, ending, epochs, floors, host, http, linear,
    liveness, operation::Operation, queue, run::Run, sends, set, stale, steady, tries, watch,
    witness,
};

/// How a run is checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A planted bug of the checkers, for the self-test: operations whose outcome isn't known
    /// are taken for operations that never were.
    pub ignore_infos: bool,
    /// How long the search for an order of operations may take, all keys together.
    pub budget: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ignore_infos: false,
            budget: Duration::from_secs(60),
        }
    }
}

/// Runs every checker that has something to look at.
#[must_use]
pub fn all(run: &Run, settings: &Settings) -> Vec<Checked> {
    let mut all = vec![
        discipline::check(run),
        host::check(run),
        floors::check(run),
        ending::check(run),
        epochs::check(run),
        stale::check(run),
        liveness::check(run),
        steady::check(run),
    ];
    let asked = |names: &[&str]| {
        run.operations
            .iter()
            .any(|it| names.contains(&it.f.as_str()))
    };
    let workload = run.plan.workload.as_str();
    if ["register", "large"].contains(&workload) || asked(&["cas"]) {
        let operations = register(run, settings);
        let black_box = linear::check(&operations, settings.budget);
        let replayed = witness::check(&operations);
        all.push(witness::compare(&black_box, &replayed));
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

/// The operations on registers, as the settings want them seen.
#[must_use]
pub fn register(run: &Run, settings: &Settings) -> Vec<Operation> {
    let of_a_register = |it: &&Operation| it.writes() || it.f == "read";
    let operations = run.operations.iter().filter(of_a_register);
    let kept = operations.filter(|it| !settings.ignore_infos || !it.is_info());
    kept.cloned().collect()
}
