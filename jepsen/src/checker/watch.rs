//! Checker of the watch: each stream tells every change once, in the order of revisions.
//!
//! It resumes without a gap, at whichever member.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

use super::{
    check_report::CheckReport,
    finding::FindingGrade,
    operation::{ClientOperation, brief},
    recorded_run::RecordedRun,
};
use crate::history::{EventType, HistoryEvent};

/// Number of gaps that are named one by one, for each stream.
const NAMED_MAX: usize = 20;

/// Change at a revision, as far as anyone has told.
struct KnownChange<'a> {
    key: &'a str,
    value: &'a Value,
    /// The operation that asked for the change, if it was answered.
    write: Option<&'a ClientOperation>,
    /// The line on which a stream told of the change first.
    line: Option<usize>,
}

/// Events of one stream: everything under one process id, in order.
type StreamEvents<'a> = Vec<(usize, &'a HistoryEvent)>;

/// Compares the streams with each other and with what was written.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("watch");
    let writes: Vec<&ClientOperation> = run
        .operations
        .iter()
        .filter(|it| it.f == "append" || it.writes())
        .collect();
    let streams = streams(run);
    let mut known: BTreeMap<u64, KnownChange> = BTreeMap::new();
    for write in writes.iter().filter(|it| it.is_ok()) {
        if let Some(revision) = write.revision {
            let told = KnownChange {
                key: &write.key,
                value: write.leaves(),
                write: Some(write),
                line: None,
            };
            known.insert(revision, told);
        }
    }
    let mut by_value: BTreeMap<(&str, String), &ClientOperation> = BTreeMap::new();
    for write in &writes {
        by_value.insert((&write.key, write.leaves().to_string()), write);
    }
    let mut places = BTreeMap::new();
    for stream in streams.values() {
        for (line, event) in stream.iter().filter(|(_, it)| it.f == "watched") {
            check_event(
                *line,
                event,
                &by_value,
                &mut known,
                &mut places,
                &mut report,
            );
        }
    }
    for (process, stream) in &streams {
        check_stream(*process, stream, &known, &mut report);
    }
    report.count("watch.streams", streams.len() as u64);
    if streams.is_empty() {
        let what = "nobody has watched".to_owned();
        report.find(FindingGrade::Unsure, "no streams", what);
    }
    report
}

fn streams(run: &RecordedRun) -> BTreeMap<u64, StreamEvents<'_>> {
    let mut streams: BTreeMap<u64, StreamEvents> = BTreeMap::new();
    for (at, event) in run.events.iter().enumerate() {
        let of_a_stream = ["watched", "resume", "compacted", "watch-end"];
        if of_a_stream.contains(&event.f.as_str()) && event.kind != EventType::Invoke {
            streams
                .entry(event.process)
                .or_default()
                .push((at + 1, event));
        }
    }
    streams
}

/// Checks one event: somebody must have written it, and it must be the same for every stream.
fn check_event<'a>(
    line: usize,
    event: &'a HistoryEvent,
    by_value: &BTreeMap<(&str, String), &'a ClientOperation>,
    known: &mut BTreeMap<u64, KnownChange<'a>>,
    places: &mut BTreeMap<(&'a str, String), u64>,
    report: &mut CheckReport,
) {
    report.count("watch.events", 1);
    let key = event.key.as_deref().unwrap_or_default();
    let Some(revision) = event.revision else {
        let what = format!("line {line}: an event without a revision");
        report
            .find(FindingGrade::Wrong, "no revision", what)
            .operations = vec![line];
        return;
    };
    let write = by_value.get(&(key, event.value.to_string())).copied();
    let value = brief(&event.value);
    // Each write is done once, so it is told at one revision, whoever tells of it.
    let at = *places
        .entry((key, event.value.to_string()))
        .or_insert(revision);
    let at = write.and_then(|write| write.revision).unwrap_or(at);
    let (kind, why) = match write {
        None => ("made-up event", "nobody has written it"),
        Some(write) if write.kind == EventType::Fail => (
            "dirty event",
            "the write had failed, and surely was not done",
        ),
        Some(write) if write.start > event.time => {
            ("future event", "the write was asked for only later")
        }
        Some(_) if at != revision => ("wrong revision", "it has another one"),
        Some(_) => ("", ""),
    };
    if !kind.is_empty() {
        let what = format!("a stream told of {key} = {value} at {revision}: {why}");
        let found = report.find(FindingGrade::Wrong, kind, what);
        found.shown_by(&write.into_iter().collect::<Vec<_>>());
        found.operations.push(line);
    }
    let there = known.entry(revision).or_insert(KnownChange {
        key,
        value: &event.value,
        write: None,
        line: Some(line),
    });
    if there.key == key && *there.value == event.value {
        return;
    }
    let who = if there.write.is_some() {
        "was answered with"
    } else {
        "was told of at"
    };
    let what = format!(
        "a stream told of {key} = {value} at revision {revision}, and {} = {} {who} it",
        there.key,
        brief(there.value)
    );
    let found = report.find(FindingGrade::Wrong, "wrong event", what);
    found.shown_by(&there.write.into_iter().collect::<Vec<_>>());
    found.operations.extend(there.line);
    found.operations.push(line);
}

/// Place of one stream while its events are gone through.
struct StreamCursor<'a> {
    process: u64,
    known: &'a BTreeMap<u64, KnownChange<'a>>,
    /// The revision that was told last. A stream without a word of its beginning begins with
    /// its first event.
    upto: Option<u64>,
    prefix: String,
    missed: usize,
}

/// Checks one stream: revisions grow, and none of those known to have happened is left out.
fn check_stream(
    process: u64,
    stream: &StreamEvents,
    known: &BTreeMap<u64, KnownChange>,
    report: &mut CheckReport,
) {
    let mut cursor = StreamCursor {
        process,
        known,
        upto: None,
        prefix: String::new(),
        missed: 0,
    };
    for (line, event) in stream {
        if let Some(revision) = event.revision {
            cursor.advance(*line, event, revision, report);
        }
    }
    report.count("watch.missed", cursor.missed as u64);
    if !stream.iter().any(|(_, it)| it.f == "watch-end") {
        report.count("watch.streams_without_end", 1);
    }
}

impl StreamCursor<'_> {
    fn advance(
        &mut self,
        line: usize,
        event: &HistoryEvent,
        revision: u64,
        report: &mut CheckReport,
    ) {
        match event.f.as_str() {
            "resume" => {
                report.count("watch.resumes", 1);
                if let Some(key) = &event.key {
                    self.prefix.clone_from(key);
                }
                // Whoever asks from further back is told again what it was told.
                self.upto = Some(revision);
                return;
            }
            "compacted" => {
                report.count("watch.compacted", 1);
                self.upto = Some(self.upto.unwrap_or(0).max(revision));
                return;
            }
            _ => {}
        }
        let ends = event.f == "watch-end";
        let Some(last) = self.upto else {
            self.upto = Some(revision);
            return;
        };
        if !ends && revision <= last {
            self.goes_back(line, event, revision, last, report);
            return;
        }
        let next = if ends {
            revision.saturating_add(1)
        } else {
            revision
        };
        let first = last.saturating_add(1);
        self.gaps(line, event, first..next.max(first), report);
        self.upto = Some(revision.max(last));
    }

    fn goes_back(
        &self,
        line: usize,
        event: &HistoryEvent,
        revision: u64,
        last: u64,
        report: &mut CheckReport,
    ) {
        let process = self.process;
        let (kind, how) = if revision == last {
            ("event twice", "twice")
        } else {
            ("events out of order", "out of order")
        };
        let what = format!(
            "stream {process} told of revision {revision} {how}, having been at {last} already"
        );
        let found = report.find(FindingGrade::Wrong, kind, what);
        found.at(&[event.member]).operations = vec![line];
    }

    /// Finds known changes between the revision that was told last and that of the event.
    fn gaps(
        &mut self,
        line: usize,
        event: &HistoryEvent,
        between: Range<u64>,
        report: &mut CheckReport,
    ) {
        let process = self.process;
        let (last, revision) = (
            self.upto.unwrap_or_default(),
            event.revision.unwrap_or_default(),
        );
        let changes = self.known.range(between);
        for (at, gap) in changes.filter(|(_, it)| it.key.starts_with(&self.prefix)) {
            self.missed += 1;
            if self.missed > NAMED_MAX {
                continue;
            }
            let what = format!(
                "stream {process} went from revision {last} to {revision}, and did not tell of {} = {} at {at}",
                gap.key,
                brief(gap.value)
            );
            let found = report.find(FindingGrade::Wrong, "missed event", what);
            found.shown_by(&gap.write.into_iter().collect::<Vec<_>>());
            found.operations.extend(gap.line);
            found.operations.push(line);
            found
                .between(Some(event.time), Some(event.time))
                .at(&[event.member]);
        }
    }
}
