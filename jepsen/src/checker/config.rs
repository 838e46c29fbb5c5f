//! Checker of the configuration: every member ends with the same catalog.
//!
//! That catalog is what was acknowledged, and nothing in it leans on what isn't there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    check_report::CheckReport, finding::FindingGrade, operation::ClientOperation,
    recorded_run::RecordedRun,
};
use crate::history::{EventType, HistoryEvent};

/// Catalog of a member: `KIND/NAME` to its fields.
type MemberCatalog = Map<String, Value>;

/// Compares the catalogs with each other and with what was asked for.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("config");
    let asked: Vec<&ClientOperation> = run
        .operations
        .iter()
        .filter(|it| it.f == "apply" || it.f == "delete")
        .collect();
    let mut keys: BTreeMap<&str, Vec<&ClientOperation>> = BTreeMap::new();
    for it in asked.iter().filter(|it| it.kind != EventType::Fail) {
        keys.entry(&it.key).or_default().push(it);
    }
    let ours: BTreeSet<&str> = asked.iter().map(|it| it.key.as_str()).collect();
    let mut finals: BTreeMap<u64, (usize, &MemberCatalog)> = BTreeMap::new();
    for f in ["catalog", "final"] {
        for (line, event) in run.unasked(f).filter(|(_, it)| it.kind == EventType::Ok) {
            let Some(catalog) = event.value.as_object() else {
                continue;
            };
            report.count("config.catalogs", 1);
            leaning(line, event, catalog, &ours, &mut report);
            if f == "final" {
                finals.insert(event.member, (line, catalog));
            }
        }
    }
    for member in super::final_state::expected_members(run) {
        if !finals.contains_key(&member) {
            let what = format!("member {member}: there is no final read of it");
            report
                .find(FindingGrade::Unsure, "no final read", what)
                .at(&[member]);
        }
    }
    for (member, (line, catalog)) in &finals {
        for (key, operations) in &keys {
            as_acknowledged(
                *member,
                *line,
                key,
                catalog.get(*key),
                operations,
                &mut report,
            );
        }
    }
    same(&finals, &mut report);
    in_order(&keys, &mut report);
    report
}

/// Finds catalogs that differ between members.
fn same(finals: &BTreeMap<u64, (usize, &MemberCatalog)>, report: &mut CheckReport) {
    let Some((first, (line, catalog))) = finals.first_key_value() else {
        return;
    };
    for (member, (other_line, other)) in finals {
        let names = catalog.keys().chain(other.keys()).collect::<BTreeSet<_>>();
        let differs = |name: &&&String| catalog.get(**name) != other.get(**name);
        let differ: Vec<&str> = names
            .iter()
            .filter(differs)
            .map(|name| name.as_str())
            .collect();
        if differ.is_empty() {
            continue;
        }
        let what = format!(
            "members {first} and {member} end with different catalogs: {}",
            differ.join(", ")
        );
        let found = report.find(FindingGrade::Wrong, "catalogs differ", what);
        found.at(&[*first, *member]).operations = vec![*line, *other_line];
    }
}

/// Compares a member's resource with what the last acknowledged operation left, or one of unknown
/// outcome may have left.
fn as_acknowledged(
    member: u64,
    line: usize,
    key: &str,
    there: Option<&Value>,
    operations: &[&ClientOperation],
    report: &mut CheckReport,
) {
    let done = operations.iter().filter(|it| it.is_ok());
    let last = done.max_by_key(|it| (it.revision, it.end));
    let unknown = operations.iter().filter(|it| it.is_info());
    let possible: Vec<&&ClientOperation> = last.into_iter().chain(unknown).collect();
    report.count("config.compared", 1);
    let fits = possible.iter().any(|it| match (it.f.as_str(), there) {
        ("delete", there) => there.is_none(),
        (_, Some(there)) => within(&it.asked, there),
        (_, None) => false,
    });
    // Before the first acknowledged operation there was nothing.
    if fits || (last.is_none() && there.is_none()) {
        return;
    }
    let has = there.map_or("nothing".to_owned(), super::operation::brief);
    let wants = last.map_or("nothing, or what is unknown".to_owned(), |it| it.describe());
    let (kind, grade) = if there.is_none() {
        ("lost resource", FindingGrade::Wrong)
    } else {
        ("wrong resource", FindingGrade::Wrong)
    };
    let what = format!("member {member} ends with {key} = {has}; acknowledged was {wants}");
    let found = report.find(grade, kind, what);
    found.shown_by(&last.into_iter().copied().collect::<Vec<_>>());
    found.at(&[member]).operations.push(line);
}

/// Returns whether all that was asked for is there; defaults may stand beside it.
fn within(asked: &Value, there: &Value) -> bool {
    match (asked, there) {
        (Value::Object(asked), Value::Object(there)) => asked.iter().all(|(name, value)| {
            there.get(name).is_some_and(|there| within(value, there))
                || SECRET.contains(&name.as_str())
        }),
        _ => asked == there,
    }
}

/// Fields that are never shown again.
const SECRET: &[&str] = &["password", "key", "secret"];

/// Returns the resources that one leans on, of those that the run has anything to do with.
fn leans_on<'a>(spec: &'a Value, ours: &BTreeSet<&str>) -> Vec<(&'a str, Vec<String>)> {
    let fields = ["service", "connection", "security"];
    let named = fields
        .iter()
        .filter_map(|field| Some((*field, spec.get(*field)?.as_str()?)));
    named
        .filter_map(|(field, name)| {
            let fits = |key: &&&str| {
                key.split_once('/').is_some_and(|(kind, of)| {
                    of == name
                        && match field {
                            "connection" => kind.ends_with("_connection"),
                            "security" => kind == "basic_auth" || kind == "api_key",
                            _ => kind == field,
                        }
                })
            };
            let candidates: Vec<String> = ours
                .iter()
                .filter(fits)
                .map(|key| (*key).to_owned())
                .collect();
            (!candidates.is_empty()).then_some((name, candidates))
        })
        .collect()
}

/// Finds resources that lean on what isn't in the same catalog.
fn leaning(
    line: usize,
    event: &HistoryEvent,
    catalog: &MemberCatalog,
    ours: &BTreeSet<&str>,
    report: &mut CheckReport,
) {
    for (key, spec) in catalog {
        for (_, candidates) in leans_on(spec, ours) {
            if candidates.iter().any(|it| catalog.contains_key(it)) {
                continue;
            }
            let what = format!(
                "member {}: {key} leans on {}, which is not there",
                event.member,
                candidates.join(" or ")
            );
            let found = report.find(FindingGrade::Wrong, "broken dependency", what);
            found
                .at(&[event.member])
                .between(Some(event.time), Some(event.time));
            found.operations = vec![line];
        }
    }
}

/// Replays acknowledged operations by revision: nothing was applied while what it leans on was
/// surely gone. Where anything about it is unknown, nothing is said.
fn in_order(keys: &BTreeMap<&str, Vec<&ClientOperation>>, report: &mut CheckReport) {
    let ours: BTreeSet<&str> = keys.keys().copied().collect();
    let sure = |key: &str| {
        keys.get(key)
            .filter(|all| all.iter().all(|it| it.is_ok() && it.revision.is_some()))
    };
    for (key, operations) in keys {
        for apply in operations.iter().filter(|it| it.f == "apply" && it.is_ok()) {
            for (_, candidates) in leans_on(&apply.asked, &ours) {
                let [one] = candidates.as_slice() else {
                    continue;
                };
                let Some(history) = sure(one) else {
                    continue;
                };
                let before = history.iter().filter(|it| it.revision < apply.revision);
                let last = before.max_by_key(|it| it.revision);
                report.count("config.dependencies", 1);
                if last.is_some_and(|it| it.f == "apply") {
                    continue;
                }
                let what = format!(
                    "{key} was applied at revision {}, when {one} was surely not there",
                    apply.revision.unwrap_or(0)
                );
                let found = report.find(FindingGrade::Wrong, "broken dependency", what);
                found.shown_by(
                    &last
                        .into_iter()
                        .copied()
                        .chain([*apply])
                        .collect::<Vec<_>>(),
                );
            }
        }
    }
}
