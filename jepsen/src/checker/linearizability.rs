//! Black-box checker: the search for an order that explains the operations on each key.
//!
//! In that order they happen one at a time, each between its asking and its answer. Revisions are
//! not looked at.
//!
//! An operation of unknown outcome may happen at any time after its asking, or never.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use porcupine_rs::{CheckResult, Model, Operation as Timed, check_operations_timeout};
use quorate_clock::Instant;
use serde_json::Value;

use super::{
    check_report::CheckReport,
    finding::FindingGrade,
    operation::{ClientOperation, NEVER},
};

/// Time limit for the search in one key. The states of a search are kept in memory, and this bounds
/// them.
const ONE_KEY: Duration = Duration::from_secs(10);

/// Result of the search for an order of one key's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderSearch {
    /// An order explains the operations.
    Found,
    /// No order explains the operations.
    None,
    /// The time was over before the search was.
    Unknown,
}

#[derive(Clone)]
struct RegisterModel;

/// Values are numbers here; 0 is that of a key that is absent.
#[derive(Clone, Copy, Debug)]
enum RegisterStep {
    Read(u32),
    Write(u32),
    Swap(u32, u32),
    /// A compare-and-set whose outcome isn't known; a value that it doesn't match, it leaves.
    MaybeSwap(u32, u32),
}

impl Model for RegisterModel {
    type State = u32;
    type Op = RegisterStep;
    type Metadata = ();

    fn init() -> u32 {
        0
    }

    fn step(state: &u32, step: &RegisterStep) -> (bool, u32) {
        match *step {
            RegisterStep::Read(value) => (*state == value, *state),
            RegisterStep::Write(value) => (true, value),
            RegisterStep::Swap(old, new) => (*state == old, new),
            RegisterStep::MaybeSwap(old, new) if *state == old => (true, new),
            RegisterStep::MaybeSwap(..) => (true, *state),
        }
    }
}

/// Checks every key by itself.
pub fn check(operations: &[ClientOperation], budget: Duration) -> CheckReport {
    let mut report = CheckReport::new("linear");
    let deadline = Instant::now() + budget;
    for (key, operations) in by_key(operations) {
        let left = deadline.saturating_duration_since(Instant::now());
        let order = order(&operations, left.min(ONE_KEY));
        report.count("linear.keys", 1);
        report.count("linear.operations", operations.len() as u64);
        match order {
            OrderSearch::Found => {}
            OrderSearch::None => {
                let what = format!(
                    "key {key}: no order of its {} operations explains what was answered",
                    operations.len()
                );
                let first = operations.iter().map(|it| it.start).min();
                let last = operations.iter().map(|it| it.told).max();
                let found = report.find(FindingGrade::Wrong, KIND, what);
                found.operations = vec![operations[0].line];
                found.between(first, last);
            }
            OrderSearch::Unknown => {
                report.count("linear.keys_unknown", 1);
                let what = format!(
                    "key {key}: the time was over before an order of its {} operations was found, or known not to be there",
                    operations.len()
                );
                report
                    .find(FindingGrade::Unsure, "out of time", what)
                    .operations = vec![operations[0].line];
            }
        }
    }
    report
}

/// Kind of the findings.
pub const KIND: &str = "not linearizable";

/// The operations of each key.
pub fn by_key(operations: &[ClientOperation]) -> BTreeMap<String, Vec<ClientOperation>> {
    let mut keys: BTreeMap<String, Vec<ClientOperation>> = BTreeMap::new();
    for operation in operations {
        let key = keys.entry(operation.key.clone()).or_default();
        key.push(operation.clone());
    }
    keys
}

/// Looks for an order of one key's operations.
pub fn order(operations: &[ClientOperation], limit: Duration) -> OrderSearch {
    if limit.is_zero() {
        return OrderSearch::Unknown;
    }
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut number = |value: &Value| match value {
        Value::Null => 0,
        value => {
            let next = numbers.len() as u32 + 1;
            *numbers.entry(value.to_string()).or_insert(next)
        }
    };
    let mut timed: Vec<Timed<RegisterModel>> = Vec::new();
    for it in relevant(operations) {
        let op = match (it.f.as_str(), it.is_ok()) {
            ("read", _) => RegisterStep::Read(number(&it.answered)),
            ("cas", true) => RegisterStep::Swap(number(it.expects()), number(it.leaves())),
            ("cas", false) => RegisterStep::MaybeSwap(number(it.expects()), number(it.leaves())),
            _ => RegisterStep::Write(number(it.leaves())),
        };
        timed.push(Timed {
            client_id: None,
            call_time: at(it.start),
            return_time: at(it.end),
            op,
            metadata: None,
        });
    }
    // The variant that explains itself as well takes a search that was cut off for one that
    // found nothing; this one doesn't.
    match check_operations_timeout(&timed, limit) {
        CheckResult::Ok => OrderSearch::Found,
        CheckResult::Illegal => OrderSearch::None,
        CheckResult::Unknown => OrderSearch::Unknown,
    }
}

fn at(time: u64) -> i64 {
    if time == NEVER {
        i64::MAX
    } else {
        i64::try_from(time).unwrap_or(i64::MAX - 1)
    }
}

/// Selects what has to be put into order: nothing that surely was not done, no read without an
/// answer, and of what is unknown only what somebody saw. An operation that nobody saw may as well
/// never have happened, and each one left out halves the search.
fn relevant(operations: &[ClientOperation]) -> Vec<&ClientOperation> {
    let told = |it: &&ClientOperation| it.is_ok() || (it.is_info() && it.writes());
    let mut kept: Vec<&ClientOperation> = operations.iter().filter(told).collect();
    loop {
        let seen: BTreeSet<String> = kept
            .iter()
            .filter_map(|it| match it.f.as_str() {
                "cas" => Some(it.expects()),
                _ => it.saw(),
            })
            .map(Value::to_string)
            .collect();
        let before = kept.len();
        kept.retain(|it| it.is_ok() || seen.contains(&it.leaves().to_string()));
        if kept.len() == before {
            return kept;
        }
    }
}
