//! Timeline of the operations of each client.
//!
//! The whole run is thinned to what a screen can show; single stretches are drawn operation by
//! operation.

use std::collections::BTreeMap;

use super::{
    html::{escape, seconds},
    time_chart::{LEFT, TOP, TimeChart, WIDTH},
};
use crate::{
    anomaly::{AnomalyOperation, SmallAnomaly},
    checker::{operation::ClientOperation, recorded_run::RecordedRun},
    history::EventType,
};

const LANE: f64 = 11.0;
/// Columns of a pixel that are kept apart.
const COLUMNS_A_PIXEL: f64 = 2.0;
/// Number of operations that are drawn one by one in a chart.
const SINGLE: usize = 1_500;

/// Returns the class of an outcome, as the style knows it.
fn class(kind: EventType) -> &'static str {
    match kind {
        EventType::Ok => "ok",
        EventType::Fail => "fail",
        _ => "info",
    }
}

/// Draws the whole run: a lane for each client, sorted by the member that it is pinned to. What
/// lies on the same half pixel is one mark; the worse outcome is drawn above.
pub fn whole(run: &RecordedRun) -> String {
    let lanes = lanes(run, run.operations.iter());
    let height = LANE * lanes.len() as f64;
    let mut picture = TimeChart::new("operations of each client", 0, run.end(), height);
    picture.faults(&run.faults);
    let mut named = u64::MAX;
    for (n, ((member, client), operations)) in lanes.iter().enumerate() {
        let y = TOP + LANE * (n as f64 + 0.5);
        if *member != named {
            named = *member;
            if n > 0 {
                picture.across(y - LANE / 2.0);
            }
            picture.lane(y, &lane_name(*member, *client));
        } else {
            picture.lane(y, &format!("client {client}"));
        }
        for kind in [EventType::Ok, EventType::Fail, EventType::Info] {
            let of_it = operations.iter().filter(|it| it.kind == kind);
            let spans = of_it.map(|it| (picture.x(it.start), picture.x(it.told)));
            let d = marks(spans, y);
            picture.path(&format!("ticks {}", class(kind)), &d);
        }
    }
    picture.finish()
}

/// Messages are published at no member.
fn lane_name(member: u64, client: u64) -> String {
    match member {
        0 => format!("client {client}"),
        _ => format!("member {member}, client {client}"),
    }
}

/// Operations by member and client. A process that was retired goes on as its successor.
fn lanes<'a>(
    run: &RecordedRun,
    operations: impl Iterator<Item = &'a ClientOperation>,
) -> BTreeMap<(u64, u64), Vec<&'a ClientOperation>> {
    let clients = run.plan.number("clients").unwrap_or(u64::MAX);
    let mut lanes: BTreeMap<(u64, u64), Vec<&ClientOperation>> = BTreeMap::new();
    for operation in operations {
        let client = operation.process % clients.max(1);
        lanes
            .entry((operation.member, client))
            .or_default()
            .push(operation);
    }
    // A run without pinned clients would have a lane for each process.
    if lanes.len() > 60 {
        let mut fewer: BTreeMap<(u64, u64), Vec<&ClientOperation>> = BTreeMap::new();
        for ((member, client), operations) in lanes {
            fewer
                .entry((member, client % 8))
                .or_default()
                .extend(operations);
        }
        return fewer;
    }
    lanes
}

/// Draws marks on one line, those that touch joined.
fn marks(spans: impl Iterator<Item = (f64, f64)>, y: f64) -> String {
    let mut columns = vec![false; ((WIDTH - LEFT) * COLUMNS_A_PIXEL) as usize + 2];
    for (from, until) in spans {
        let column = |x: f64| ((x - LEFT) * COLUMNS_A_PIXEL) as usize;
        let (first, last) = (column(from), column(until).max(column(from)));
        let last = last.min(columns.len() - 2);
        columns[first.min(last)..=last].fill(true);
    }
    let mut d = String::new();
    let mut begun: Option<usize> = None;
    for (n, there) in columns.iter().enumerate() {
        match (there, begun) {
            (true, None) => begun = Some(n),
            (false, Some(from)) => {
                let x = LEFT + from as f64 / COLUMNS_A_PIXEL;
                let width = (n - from) as f64 / COLUMNS_A_PIXEL;
                d += &format!("M{x:.1} {y:.1}h{width:.1}");
                begun = None;
            }
            _ => {}
        }
    }
    d
}

/// Draws a stretch of the run, operation by operation; pointing at one shows what it was.
pub fn stretch(run: &RecordedRun, from: u64, until: u64) -> String {
    let all = run
        .operations
        .iter()
        .filter(|it| it.start <= until && it.told >= from);
    let count = all.clone().count();
    let lanes = lanes(run, all.take(SINGLE));
    let height = LANE * lanes.len().max(1) as f64;
    let mut picture = TimeChart::new("a stretch of operations", from, until, height);
    picture.faults(&run.faults);
    for (n, ((member, client), operations)) in lanes.iter().enumerate() {
        let y = TOP + LANE * n as f64;
        picture.lane(y + LANE / 2.0, &lane_name(*member, *client));
        for it in operations {
            let title = escape(&title(&ShownOperation::from_operation(it)));
            let bar = format!("bar {}", class(it.kind));
            let (from, until) = (picture.x(it.start), picture.x(it.told));
            picture.rect(&bar, from, until, y + 1.5, LANE - 3.0, &title);
        }
    }
    let mut text = picture.finish();
    if count > SINGLE {
        text +=
            &format!("<p class=\"dim\">The first {SINGLE} of {count} operations are drawn.</p>\n");
    }
    text
}

/// The operations of an anomaly, each with its words.
pub fn anomaly(anomaly: &SmallAnomaly) -> String {
    let all = &anomaly.operations;
    let (Some(from), Some(until)) = (
        all.iter().map(|it| it.start).min(),
        all.iter().map(|it| it.told).max(),
    ) else {
        return String::new();
    };
    let margin = (until - from) / 20 + 1_000_000;
    let row = 26.0;
    let mut picture = TimeChart::new(
        &anomaly.what,
        from.saturating_sub(margin),
        until + margin * 4,
        row * all.len() as f64,
    );
    for (n, it) in all.iter().enumerate() {
        let y = TOP + row * n as f64;
        picture.lane(
            y + row / 2.0,
            &format!("process {} at member {}", it.process, it.member),
        );
        let (left, right) = (picture.x(it.start), picture.x(it.told));
        let bar = format!("bar {}", class(it.outcome));
        picture.rect(
            &bar,
            left,
            right,
            y + 14.0,
            8.0,
            &escape(&title(&ShownOperation::from_anomaly(it))),
        );
        let revision = it
            .revision
            .map_or_else(String::new, |it| format!(" at revision {it}"));
        let text = format!("{} {}{revision}", it.text, class(it.outcome));
        // Words that would leave the picture end where their bar ends.
        if left > WIDTH * 0.7 {
            picture.text(
                "strong end",
                right.max(left + 4.0),
                y + 10.0,
                &escape(&text),
            );
        } else {
            picture.text("strong", left, y + 10.0, &escape(&text));
        }
    }
    picture.finish()
}

struct ShownOperation<'a> {
    line: usize,
    text: String,
    kind: EventType,
    start: u64,
    told: u64,
    revision: Option<u64>,
    error: Option<&'a str>,
}

impl<'a> ShownOperation<'a> {
    fn from_operation(it: &'a ClientOperation) -> ShownOperation<'a> {
        ShownOperation {
            line: it.line,
            text: it.describe(),
            kind: it.kind,
            start: it.start,
            told: it.told,
            revision: it.revision,
            error: it.error.as_deref(),
        }
    }

    fn from_anomaly(it: &'a AnomalyOperation) -> ShownOperation<'a> {
        ShownOperation {
            line: it.line,
            text: it.text.clone(),
            kind: it.outcome,
            start: it.start,
            told: it.told,
            revision: it.revision,
            error: None,
        }
    }
}

fn title(it: &ShownOperation) -> String {
    let revision = it
        .revision
        .map_or_else(String::new, |it| format!(" at revision {it}"));
    let error = it.error.map_or_else(String::new, |it| format!(": {it}"));
    format!(
        "line {}: {} {}{revision}{error}, {}–{} s",
        it.line,
        it.text,
        class(it.kind),
        seconds(it.start),
        seconds(it.told)
    )
}
