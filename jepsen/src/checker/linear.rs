//! The black box: is there an order in which the operations on each key could have happened,
//! one at a time, each between its asking and its answer? Revisions are not looked at.
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
    check_report::Checked,
    finding::Grade,
    operation::{NEVER, Operation},
};

/// The longest search in one key. The states of a search are kept in memory, and this keeps
/// them within it.
const ONE_KEY: Duration = Duration::from_secs(10);

/// What is known of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// There is an order.
    Found,
    /// There is none.
    None,
    /// The time was over before it was known.
    Unknown,
}

#[derive(Clone)]
struct Register;

/// Values are numbers here; 0 is that of a key that is absent.
#[derive(Clone, Copy, Debug)]
enum Step {
    Read(u32),
    Write(u32),
    Swap(u32, u32),
    /// A compare-and-set whose outcome isn't known; what it doesn't match, it leaves.
    MaybeSwap(u32, u32),
}

impl Model for Register {
    type State = u32;
    type Op = Step;
    type Metadata = ();

    fn init() -> u32 {
        0
    }

    fn step(state: &u32, step: &Step) -> (bool, u32) {
        match *step {
            Step::Read(value) => (*state == value, *state),
            Step::Write(value) => (true, value),
            Step::Swap(old, new) => (*state == old, new),
            Step::MaybeSwap(old, new) if *state == old => (true, new),
            Step::MaybeSwap(..) => (true, *state),
        }
    }
}

/// Checks every key by itself.
#[must_use]
pub fn check(operations: &[Operation], budget: Duration) -> Checked {
    let mut checked = Checked::new("linear");
    let deadline = Instant::now() + budget;
    for (key, operations) in by_key(operations) {
        let left = deadline.saturating_duration_since(Instant::now());
        let order = order(&operations, left.min(ONE_KEY));
        checked.count("linear.keys", 1);
        checked.count("linear.operations", operations.len() as u64);
        match order {
            Order::Found => {}
            Order::None => {
                let what = format!(
                    "key {key}: no order of its {} operations explains what was answered",
                    operations.len()
                );
                let first = operations.iter().map(|it| it.start).min();
                let last = operations.iter().map(|it| it.told).max();
                let found = checked.find(Grade::Wrong, KIND, what);
                found.operations = vec![operations[0].line];
                found.between(first, last);
            }
            Order::Unknown => {
                checked.count("linear.keys_unknown", 1);
                let what = format!(
                    "key {key}: the time was over before an order of its {} operations was found, or known not to be there",
                    operations.len()
                );
                checked.find(Grade::Unsure, "out of time", what).operations =
                    vec![operations[0].line];
            }
        }
    }
    checked
}

/// The kind of its findings.
pub const KIND: &str = "not linearizable";

/// The operations of each key.
#[must_use]
pub fn by_key(operations: &[Operation]) -> BTreeMap<String, Vec<Operation>> {
    let mut keys: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        let key = keys.entry(operation.key.clone()).or_default();
        key.push(operation.clone());
    }
    keys
}

/// Looks for an order of one key's operations.
#[must_use]
pub fn order(operations: &[Operation], limit: Duration) -> Order {
    if limit.is_zero() {
        return Order::Unknown;
    }
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut number = |value: &Value| match value {
        Value::Null => 0,
        value => {
            let next = numbers.len() as u32 + 1;
            *numbers.entry(value.to_string()).or_insert(next)
        }
    };
    let mut timed: Vec<Timed<Register>> = Vec::new();
    for it in relevant(operations) {
        let op = match (it.f.as_str(), it.is_ok()) {
            ("read", _) => Step::Read(number(&it.answered)),
            ("cas", true) => Step::Swap(number(it.expects()), number(it.leaves())),
            ("cas", false) => Step::MaybeSwap(number(it.expects()), number(it.leaves())),
            _ => Step::Write(number(it.leaves())),
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
        CheckResult::Ok => Order::Found,
        CheckResult::Illegal => Order::None,
        CheckResult::Unknown => Order::Unknown,
    }
}

fn at(time: u64) -> i64 {
    if time == NEVER {
        i64::MAX
    } else {
        i64::try_from(time).unwrap_or(i64::MAX - 1)
    }
}

/// What has to be put into order: nothing that surely was not done, no read without an
/// answer, and of what is unknown only that whose value somebody saw. What nobody saw may
/// as well never have happened, and each one left out halves the search.
fn relevant(operations: &[Operation]) -> Vec<&Operation> {
    let told = |it: &&Operation| it.is_ok() || (it.is_info() && it.writes());
    let mut kept: Vec<&Operation> = operations.iter().filter(told).collect();
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
