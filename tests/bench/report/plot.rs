//! The plot: for each fault the share of trials that were over after so many milliseconds
//! (ECDF), on a logarithmic axis; light or dark as the reader's screen is.

use std::fmt::Write as _;

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

const CSS: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:14px}\
.m{fill:#57606a;font-size:11px}.g{stroke:#d0d7de}.b{fill:#fff}polyline{fill:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}.g{stroke:#30363d}.b{fill:#0d1117}}";

/// The whole file.
pub fn render(known: &[(Case, &Series)]) -> String {
    let mut body = String::new();
    let _ = writeln!(
        body,
        "<text class=\"m\" x=\"{LEFT}\" y=\"20\">Share of trials that were over, by time since the fault, on a logarithmic axis. Beside each line its median.</text>"
    );
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
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" height=\"{top}\" role=\"img\">\
         <title>Failover: share of trials that were over, by time since the fault</title>\n\
         <style>{CSS}</style>\n<rect class=\"b\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
    )
}

/// One fault; gives its height.
fn panel(out: &mut String, top: f64, fault: Fault, lines: &[(Vec<f64>, Style)]) -> f64 {
    let head = top + 30.0;
    let height = (lines.len() as f64 * LINE).max(150.0);
    let y = |share: f64| head + height * (1.0 - share);
    let _ = writeln!(
        out,
        "<text class=\"t\" x=\"{LEFT}\" y=\"{}\">{}</text>",
        top + 18.0,
        fault.name()
    );
    for (value, name) in TICKS {
        let x = x(value);
        let _ = writeln!(
            out,
            "<line class=\"g\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{head}\" y2=\"{}\"/>",
            head + height
        );
        let _ = writeln!(
            out,
            "<text class=\"m\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            head + height + 15.0
        );
    }
    for (share, name) in [(0.0, "0 %"), (0.5, "50 %"), (0.95, "95 %"), (1.0, "")] {
        let y = y(share);
        let _ = writeln!(
            out,
            "<line class=\"g\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            LEFT + PLOT_WIDTH
        );
        let _ = writeln!(
            out,
            "<text class=\"m\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 6.0,
            y + 4.0
        );
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
        let _ = writeln!(
            out,
            "<text class=\"m\" x=\"{}\" y=\"{}\">{median:.0} ms · {}</text>",
            left + 32.0,
            middle + 4.0,
            style.name
        );
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
