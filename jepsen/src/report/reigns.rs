//! Chart of reigns: leaders and connector servers as each member told of them.
//!
//! It shows, too, under which epoch each connector was at work, as its sink saw it.

use std::collections::BTreeMap;

use super::{
    html::escape,
    time_chart::{TOP, TimeChart},
};
use crate::{
    checker::recorded_run::RecordedRun,
    history::{ReignObservation, SinkCall},
};

const LANE: f64 = 15.0;
/// Time after which a member that has told nothing is not known to think the same still.
const KNOWN: u64 = 1_500_000_000;
/// Number of connectors that are drawn.
const MOST: usize = 30;
/// Number of refused calls that are marked in each lane.
const MARKED: usize = 200;

/// The picture; nothing, if nothing was seen.
pub fn picture(run: &RecordedRun) -> String {
    if run.observations.is_empty() && run.calls.is_empty() {
        return String::new();
    }
    let mut connectors: BTreeMap<&str, Vec<&SinkCall>> = BTreeMap::new();
    for call in &run.calls {
        connectors.entry(&call.connector).or_default().push(call);
    }
    let members = if run.observations.is_empty() {
        0
    } else {
        run.plan.members as usize
    };
    let lanes = members * 2 + connectors.len().min(MOST);
    let mut picture = TimeChart::new("reigns over time", 0, run.end(), LANE * lanes as f64);
    picture.faults(&run.faults);
    let mut y = TOP;
    for member in 1..=members as u64 {
        let mine: Vec<&ReignObservation> = run
            .observations
            .iter()
            .filter(|it| it.member == member)
            .collect();
        picture.lane(y + LANE / 2.0, &format!("leader, says {member}"));
        spans(
            &mut picture,
            &mine,
            y,
            |it| Some((it.leader?, it.term.unwrap_or(0))),
            "term",
        );
        y += LANE;
    }
    for member in 1..=members as u64 {
        let mine: Vec<&ReignObservation> = run
            .observations
            .iter()
            .filter(|it| it.member == member)
            .collect();
        picture.lane(y + LANE / 2.0, &format!("connectors, says {member}"));
        let held = |it: &ReignObservation| Some((it.connector_server?, it.epoch.unwrap_or(0)));
        spans(&mut picture, &mine, y, held, "epoch");
        y += LANE;
    }
    let holders: BTreeMap<u64, u64> = run
        .observations
        .iter()
        .filter_map(|it| Some((it.epoch?, it.connector_server?)))
        .collect();
    for (connector, calls) in connectors.iter().take(MOST) {
        picture.lane(y + LANE / 2.0, tail(connector));
        at_work(&mut picture, calls, &holders, y);
        y += LANE;
    }
    picture.finish()
}

/// The end of a long name.
fn tail(name: &str) -> &str {
    let from = name.char_indices().rev().nth(23).map_or(0, |(at, _)| at);
    &name[from..]
}

/// Draws the answers of one member: a bar for as long as they were the same.
fn spans(
    picture: &mut TimeChart,
    observations: &[&ReignObservation],
    y: f64,
    told: impl Fn(&ReignObservation) -> Option<(u64, u64)>,
    number: &str,
) {
    let mut open: Option<((u64, u64), u64, u64)> = None;
    let close = |picture: &mut TimeChart, open: Option<((u64, u64), u64, u64)>| {
        if let Some(((who, what), from, until)) = open {
            let title = format!("member {who}, {number} {what}");
            let class = format!("m{}", who.min(5));
            let (left, right) = (picture.x(from), picture.x(until));
            picture.rect(&class, left, right, y + 2.0, LANE - 4.0, &title);
        }
    };
    for observation in observations {
        let now = told(observation);
        match (&mut open, now) {
            (Some((same, _, until)), Some(now))
                if *same == now && observation.time.saturating_sub(*until) < KNOWN =>
            {
                *until = observation.time;
            }
            _ => {
                close(picture, open.take());
                open = now.map(|now| (now, observation.time, observation.time));
            }
        }
    }
    close(picture, open);
}

/// Draws each epoch from the first call to the last, with a mark for each refused one.
fn at_work(picture: &mut TimeChart, calls: &[&SinkCall], holders: &BTreeMap<u64, u64>, y: f64) {
    let mut epochs: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.accepted) {
        let span = epochs
            .entry(call.epoch)
            .or_insert((call.begun, call.ended, 0));
        *span = (span.0.min(call.begun), span.1.max(call.ended), span.2 + 1);
    }
    for (epoch, (from, until, count)) in epochs {
        let holder = holders.get(&epoch).copied().unwrap_or(0);
        let title = escape(&format!("epoch {epoch} of member {holder}: {count} calls"));
        let (left, right) = (picture.x(from), picture.x(until));
        picture.rect(
            &format!("m{}", holder.min(5)),
            left,
            right,
            y + 2.0,
            LANE - 4.0,
            &title,
        );
    }
    let refused = calls.iter().filter(|call| !call.accepted).take(MARKED);
    let d: String = refused
        .map(|call| format!("M{:.1} {:.1}v{:.1}", picture.x(call.begun), y, LANE))
        .collect();
    picture.path("plot bad", &d);
}
