//! The plot: for each fault the share of trials that were over after so many milliseconds
//! (ECDF), on a logarithmic axis; light or dark as the reader's screen is.

use std::fmt::Write as _;

use quorate_testkit::svg;

use crate::{
    fault::Fault,
    plan::Case,
    record::Series,
    report::{
        legend::{Style, style},
        stats::{percentile, sorted},
    },
};

const FAULTS: [Fault; 5] = [
    Fault::Kill,
    Fault::Term,
    Fault::Stop,
    Fault::Group,
    Fault::Partition,
];
const WIDTH: f64 = 1100.0;
const LEFT: f64 = 52.0;
const PLOT_WIDTH: f64 = 560.0;
const LINE: f64 = 17.0;
/// The axis, in ms.
const FROM: f64 = 1.0;
const TO: f64 = 60_000.0;
const TICKS: [(f64, &str); 10] = [
    (2.0, "2"),
    (5.0, "5 ms"),
    (10.0, "10"),
    (25.0, "25"),
    (100.0, "100"),
    (200.0, "200"),
    (500.0, "500"),
    (1000.0, "1 s"),
    (5000.0, "5 s"),
    (30_000.0, "30 s"),
];

/// The whole file.
pub fn render(known: &[(Case, &Series)]) -> String {
    let mut body = String::new();
    let explained = "Share of trials that were over, by time since the fault, on a logarithmic axis. Beside each line its median.";
    svg::text(&mut body, "m", (LEFT, 20.0), "start", explained);
    let mut top = 30.0;
    for fault in FAULTS {
        let of_fault = known.iter().filter(|(case, _)| case.fault == fault);
        let mut lines: Vec<_> = of_fault
            .map(|(case, series)| (style(case), series))
            .map(|(style, series)| (sorted(&series.trials, style.measure), style))
            .filter(|(values, _)| !values.is_empty())
            .collect();
        lines.sort_by(|a, b| percentile(&a.0, 50).total_cmp(&percentile(&b.0, 50)));
        if !lines.is_empty() {
            top += panel(&mut body, top, fault, &lines);
        }
    }
    let title = "Failover: share of trials that were over, by time since the fault";
    svg::document(title, WIDTH, top, &body)
}

/// One fault; gives its height.
fn panel(out: &mut String, top: f64, fault: Fault, lines: &[(Vec<f64>, Style)]) -> f64 {
    let head = top + 30.0;
    let height = (lines.len() as f64 * LINE).max(150.0);
    let y = |share: f64| head + height * (1.0 - share);
    svg::text(out, "t", (LEFT, top + 18.0), "start", fault.name());
    for (value, name) in TICKS {
        let x = x(value);
        svg::grid(out, (x, head), (x, head + height));
        svg::text(out, "m", (x, head + height + 15.0), "middle", name);
    }
    for (share, name) in [(0.0, "0 %"), (0.5, "50 %"), (0.95, "95 %"), (1.0, "")] {
        let y = y(share);
        svg::grid(out, (LEFT, y), (LEFT + PLOT_WIDTH, y));
        svg::text(out, "m", (LEFT - 6.0, y + 4.0), "end", name);
    }
    for (n, (values, style)) in lines.iter().enumerate() {
        let looks = format!(
            "stroke=\"{}\" stroke-width=\"{}\" stroke-dasharray=\"{}\"",
            style.color, style.width, style.dash
        );
        let _ = writeln!(out, "<polyline {looks} points=\"{}\"/>", steps(values, y));
        let (left, middle) = (LEFT + PLOT_WIDTH + 16.0, head + LINE * (n as f64 + 0.5));
        let _ = writeln!(
            out,
            "<line {looks} x1=\"{left}\" x2=\"{}\" y1=\"{middle}\" y2=\"{middle}\"/>",
            left + 26.0
        );
        let median = percentile(values, 50);
        let told = format!("{median:.0} ms · {}", style.name);
        svg::text(out, "m", (left + 32.0, middle + 4.0), "start", &told);
    }
    30.0 + height + 32.0
}

fn x(ms: f64) -> f64 {
    let share = (ms.clamp(FROM, TO) / FROM).ln() / (TO / FROM).ln();
    LEFT + PLOT_WIDTH * share
}

/// Up by one trial's share at each of their times.
fn steps(values: &[f64], y: impl Fn(f64) -> f64) -> String {
    let mut points = String::new();
    let share = |n: usize| n as f64 / values.len() as f64;
    for (n, value) in values.iter().enumerate() {
        let x = x(*value);
        let _ = write!(
            points,
            "{x:.1},{:.1} {x:.1},{:.1} ",
            y(share(n)),
            y(share(n + 1))
        );
    }
    points
}
