//! The plot of growth: times by number, both on logarithmic axes, a panel for resources and one
//! for keys.

use std::fmt::Write as _;

use super::{
    keys::KeysRow,
    resources::ResourcesRow,
    tables::{APPLY, FIRST_WRITE, READY, VALIDATE, thousands},
};
use quorate_testkit::svg;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 60.0;
const PLOT_WIDTH: f64 = 480.0;
const HEIGHT: f64 = 240.0;
/// Of a panel, with what stands above and below its plot.
const PANEL: f64 = HEIGHT + 80.0;
const LINE: f64 = 20.0;
/// The axis of numbers.
const COUNTS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// The axis of times, in seconds.
const FROM: f64 = 0.001;
const TO: f64 = 1000.0;
const TICKS: [(f64, &str); 7] = [
    (0.001, "1 ms"),
    (0.01, "10 ms"),
    (0.1, "100 ms"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (100.0, "100 s"),
    (1000.0, "1000 s"),
];

/// One figure over the numbers.
struct Curve {
    name: &'static str,
    color: &'static str,
    points: Vec<(u64, f64)>,
    /// In seconds, for the largest number.
    goal: Option<f64>,
}

/// The whole file.
pub fn render(resources: &[ResourcesRow], keys: &[KeysRow]) -> String {
    let of = |name, color, goal, value: fn(&ResourcesRow) -> f64| Curve {
        name,
        color,
        points: resources
            .iter()
            .map(|row| (row.count, value(row)))
            .collect(),
        goal,
    };
    let of_resources = [
        of("apply, under load", "#0969da", Some(APPLY), |row| row.apply),
        of("validate", "#8250df", Some(VALIDATE), |row| row.validate),
        of(
            "three at once to the first write",
            "#bf3989",
            Some(FIRST_WRITE),
            |row| row.restarts.three,
        ),
        of("one member to ready", "#bc4c00", Some(READY), |row| {
            row.restarts.one
        }),
        of("a put before", "#6e7781", None, |row| row.put_first),
        of("a put after", "#1a7f37", None, |row| row.put_last),
    ];
    let of = |name, color, value: fn(&KeysRow) -> f64| Curve {
        name,
        color,
        points: keys.iter().map(|row| (row.count, value(row))).collect(),
        goal: None,
    };
    let of_keys = [
        of("all puts", "#0969da", |row| row.count as f64 / row.rate),
        of("three at once to the first write", "#bf3989", |row| {
            row.restarts.three
        }),
        of("one member to ready", "#bc4c00", |row| row.restarts.one),
    ];
    let mut body = String::new();
    panel(&mut body, 0.0, "Resources", &of_resources);
    panel(&mut body, PANEL, "Keys of 100 bytes", &of_keys);
    svg::document("Growth: times by number", WIDTH, 2.0 * PANEL, &body)
}

fn panel(out: &mut String, top: f64, name: &str, curves: &[Curve]) {
    let head = top + 40.0;
    let y = |seconds: f64| {
        let share = (seconds.clamp(FROM, TO) / FROM).ln() / (TO / FROM).ln();
        head + HEIGHT * (1.0 - share)
    };
    svg::text(out, "t", (LEFT, top + 24.0), "start", name);
    for count in COUNTS {
        let x = x(count);
        svg::grid(out, (x, head), (x, head + HEIGHT));
        svg::text(
            out,
            "m",
            (x, head + HEIGHT + 15.0),
            "middle",
            &thousands(count),
        );
    }
    for (seconds, name) in TICKS {
        let y = y(seconds);
        svg::grid(out, (LEFT, y), (LEFT + PLOT_WIDTH, y));
        svg::text(out, "m", (LEFT - 6.0, y + 4.0), "end", name);
    }
    for (n, curve) in curves.iter().enumerate() {
        let looks = format!("stroke=\"{}\" stroke-width=\"2\"", curve.color);
        let points: Vec<_> = curve
            .points
            .iter()
            .map(|(count, seconds)| (x(*count), y(*seconds)))
            .collect();
        let line: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(out, "<polyline {looks} points=\"{}\"/>", line.join(" "));
        for (x, y) in &points {
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>",
                curve.color
            );
        }
        let mut told = curve.name.to_owned();
        if let (Some(goal), Some((count, _))) = (curve.goal, curve.points.last()) {
            let (x, y) = (x(*count), y(goal));
            let _ = writeln!(
                out,
                "<line {looks} x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                x - 9.0,
                x + 9.0
            );
            let _ = write!(told, " (dash: the goal, {goal} s)");
        }
        let (left, middle) = (LEFT + PLOT_WIDTH + 20.0, head + LINE * (n as f64 + 0.5));
        let _ = writeln!(
            out,
            "<line {looks} x1=\"{left}\" x2=\"{}\" y1=\"{middle}\" y2=\"{middle}\"/>",
            left + 22.0
        );
        svg::text(out, "m", (left + 28.0, middle + 4.0), "start", &told);
    }
}

fn x(count: u64) -> f64 {
    let (from, to) = (COUNTS[0] as f64, COUNTS[COUNTS.len() - 1] as f64);
    let share = (count.max(1) as f64 / from).ln() / (to / from).ln();
    LEFT + PLOT_WIDTH * share.clamp(0.0, 1.0)
}
