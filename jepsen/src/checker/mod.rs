//! The checkers: each looks at a whole run for one kind of thing that must not be, and each is
//! a pure function of what was written down.

use std::time::Duration;

use crate::verdict::{Finding, Grade, Numbers};

pub mod config;
pub mod discipline;
pub mod ending;
pub mod epochs;
pub mod expected;
pub mod floors;
pub mod host;
pub mod http;
pub mod linear;
pub mod liveness;
pub mod operation;
pub mod queue;
pub mod run;
pub mod sends;
pub mod set;
pub mod stale;
pub mod steady;
pub mod tries;
pub mod watch;
pub mod witness;

pub use operation::Operation;
pub use run::{Plan, Run};

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

/// What a checker has to say.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    checker: &'static str,
    /// What it found.
    pub findings: Vec<Finding>,
    /// What it counted.
    pub numbers: Numbers,
}

impl Checked {
    /// Nothing yet.
    #[must_use]
    pub fn new(checker: &'static str) -> Checked {
        Checked {
            checker,
            ..Checked::default()
        }
    }

    /// Adds a finding; it is returned for its details.
    pub fn find(&mut self, grade: Grade, kind: &str, what: String) -> &mut Finding {
        self.findings.push(Finding {
            checker: self.checker.to_owned(),
            grade,
            kind: kind.to_owned(),
            what,
            operations: Vec::new(),
            members: Vec::new(),
            from: None,
            until: None,
        });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// Counts.
    pub fn count(&mut self, name: impl Into<String>, more: u64) {
        *self.numbers.entry(name.into()).or_default() += more;
    }

    /// Keeps the greatest.
    pub fn worst(&mut self, name: impl Into<String>, value: u64) {
        let known = self.numbers.entry(name.into()).or_default();
        *known = value.max(*known);
    }
}

impl Finding {
    /// Names the operations that show it, and takes over when and where they were.
    pub fn shown_by(&mut self, operations: &[&Operation]) -> &mut Finding {
        for operation in operations {
            self.operations.extend(operation.lines());
            if operation.member != 0 && !self.members.contains(&operation.member) {
                self.members.push(operation.member);
            }
        }
        let from = operations.iter().map(|operation| operation.start).min();
        let until = operations.iter().map(|operation| operation.told).max();
        self.between(from, until)
    }

    /// When it was.
    pub fn between(&mut self, from: Option<u64>, until: Option<u64>) -> &mut Finding {
        (self.from, self.until) = (from, until);
        self
    }

    /// Which members it is about.
    pub fn at(&mut self, members: &[u64]) -> &mut Finding {
        self.members = members.to_vec();
        self
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
