//! Values of one key along the log: who wrote each, and at which revisions it was seen.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    checker::{check_report::CheckReport, finding::FindingGrade, operation::ClientOperation},
    history::EventType,
};

/// A place in the log at which a value was seen.
struct ValueObservation<'a> {
    at: u64,
    value: String,
    by: &'a ClientOperation,
}

/// Bounds of the effect of an operation of unknown outcome whose value was seen.
struct EffectBounds<'a> {
    write: &'a ClientOperation,
    /// The effect came above this revision,
    above: (u64, &'a ClientOperation),
    /// and not above this one.
    upto: (u64, &'a ClientOperation),
}

/// The values of one key.
pub struct ValueHistory<'a> {
    /// The operations that are known to have been done, by revision.
    log: BTreeMap<u64, &'a ClientOperation>,
    /// The operations that asked for a value to be written.
    writers: BTreeMap<String, Vec<&'a ClientOperation>>,
    seen: Vec<ValueObservation<'a>>,
    bounds: BTreeMap<usize, EffectBounds<'a>>,
}

impl<'a> ValueHistory<'a> {
    /// Begins with what was written.
    pub fn new(operations: &'a [ClientOperation]) -> ValueHistory<'a> {
        let mut log = BTreeMap::new();
        let mut writers: BTreeMap<String, Vec<&ClientOperation>> = BTreeMap::new();
        for write in operations.iter().filter(|it| it.writes()) {
            let value = write.leaves().to_string();
            writers.entry(value).or_default().push(write);
            if let Some(revision) = write.revision.filter(|_| write.is_ok()) {
                log.insert(revision, write);
            }
        }
        ValueHistory {
            log,
            writers,
            seen: Vec::new(),
            bounds: BTreeMap::new(),
        }
    }

    /// `by` saw the value at a revision.
    pub fn seen(
        &mut self,
        by: &'a ClientOperation,
        at: u64,
        value: &Value,
        report: &mut CheckReport,
    ) {
        let text = value.to_string();
        self.seen.push(ValueObservation {
            at,
            value: text.clone(),
            by,
        });
        let latest = self.log.range(..=at).next_back().map(|(_, write)| *write);
        let found = latest.map_or(&Value::Null, |write| write.leaves());
        let writers = self.writers.get(&text).map_or(&[][..], Vec::as_slice);
        let too_early = !writers.is_empty() && writers.iter().all(|it| it.start > by.end);
        if found == value && !too_early {
            return;
        }
        let there = latest.map_or_else(
            || "nothing was written".to_owned(),
            |write| format!("{} was the latest write", write.describe()),
        );
        let unknown = writers.iter().filter(|it| it.kind == EventType::Info);
        // One that was asked for only after the observation was over can't be it.
        let unknown: Vec<&&ClientOperation> = unknown.filter(|it| it.start <= by.end).collect();
        match unknown.as_slice() {
            [] => {}
            [write] => {
                let write: &'a ClientOperation = write;
                let above = latest.map_or((0, write), |it| (it.revision.unwrap_or(0), it));
                let bounds = self.bounds.entry(write.line).or_insert(EffectBounds {
                    write,
                    above,
                    upto: (at, by),
                });
                if above.0 > bounds.above.0 {
                    bounds.above = above;
                }
                if at < bounds.upto.0 {
                    bounds.upto = (at, by);
                }
                return;
            }
            // Written more than once: which of them it was can't be told.
            _ => return,
        }
        let (kind, why, other) = wrong(by, at, writers, value);
        let what = format!("{} at revision {at}, where {there}: {why}", by.describe());
        let shown: Vec<&ClientOperation> = other.into_iter().chain(latest).chain([by]).collect();
        report
            .find(FindingGrade::Wrong, kind, what)
            .shown_by(&shown);
    }

    /// Looks at all observations together.
    pub fn finish(mut self, done: &[&'a ClientOperation], report: &mut CheckReport) {
        self.unknown_have_a_place(done, report);
        self.nothing_comes_back(report);
    }

    fn unknown_have_a_place(&mut self, done: &[&'a ClientOperation], report: &mut CheckReport) {
        for bounds in self.bounds.values_mut() {
            for it in done.iter().filter(|it| it.end < bounds.write.start) {
                let revision = it.revision.unwrap_or(0);
                if revision > bounds.above.0 {
                    bounds.above = (revision, it);
                }
            }
            let EffectBounds { write, above, upto } = bounds;
            if above.0 < upto.0 {
                continue;
            }
            let what = format!(
                "{}, of unknown outcome, was seen by {} at revision {}, and can only have been done above {}, that of {}",
                write.describe(),
                upto.1.describe(),
                upto.0,
                above.0,
                above.1.describe(),
            );
            let found = report.find(FindingGrade::Wrong, "done at two places", what);
            found.shown_by(&[write, above.1, upto.1]);
        }
    }

    /// Finds values that were seen, gone, and seen again, though each value is written once.
    fn nothing_comes_back(mut self, report: &mut CheckReport) {
        for (revision, write) in &self.log {
            self.seen.push(ValueObservation {
                at: *revision,
                value: write.leaves().to_string(),
                by: write,
            });
        }
        // At its own revision, a write comes before those who saw it.
        self.seen
            .sort_by_key(|seen| (seen.at, seen.by.f == "read", seen.by.line));
        let mut gone: BTreeMap<&str, &ValueObservation> = BTreeMap::new();
        let mut last: Option<&ValueObservation> = None;
        for seen in &self.seen {
            let Some(before) = last.replace(seen) else {
                continue;
            };
            if before.value == seen.value {
                continue;
            }
            gone.insert(&before.value, before);
            let once = self
                .writers
                .get(&seen.value)
                .is_none_or(|all| all.len() == 1);
            let Some(earlier) = gone.get(seen.value.as_str()).filter(|_| once) else {
                continue;
            };
            let nothing = seen.value == "null";
            if nothing && self.writers.contains_key("null") {
                continue;
            }
            let what = format!(
                "{} was seen at revision {}, was gone at {} ({}), and was there again at {}",
                seen.value,
                earlier.at,
                before.at,
                before.by.describe(),
                seen.at,
            );
            let found = report.find(FindingGrade::Wrong, "value came back", what);
            found.shown_by(&[earlier.by, before.by, seen.by]);
        }
    }
}

/// Returns why a value should not have been seen.
fn wrong<'a>(
    by: &ClientOperation,
    at: u64,
    writers: &[&'a ClientOperation],
    value: &Value,
) -> (&'static str, String, Option<&'a ClientOperation>) {
    if by.f == "cas" {
        let text = format!("it must not have found {value}");
        return (
            "compare-and-set against the wrong value",
            text,
            writers.first().copied(),
        );
    }
    if let Some(write) = writers.iter().find(|it| it.is_ok()) {
        let revision = write.revision.unwrap_or(0);
        if write.start > by.end {
            let text = "the write was asked for only later".to_owned();
            return ("future read", text, Some(write));
        }
        if revision > at {
            let text = format!("{} has revision {revision}", write.describe());
            return ("future read", text, Some(write));
        }
        let text = format!("{} at {revision} had been overwritten", write.describe());
        return ("stale value", text, Some(write));
    }
    if let Some(write) = writers.first() {
        let text = match write.kind {
            EventType::Fail => "the write had failed, and surely was not done",
            _ => "the write was asked for only later",
        };
        return ("dirty read", text.to_owned(), Some(write));
    }
    if value.is_null() {
        return ("lost write", "there should be a value".to_owned(), None);
    }
    ("made-up value", "nobody has written it".to_owned(), None)
}
