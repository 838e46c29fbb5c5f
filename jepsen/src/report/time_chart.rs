//! Charts along the time of a run: one scale for all, the faults shaded behind.

use std::fmt::Write;

use super::html::escape;
use crate::history::FaultRecord;

/// Width of a chart.
pub const WIDTH: f64 = 1200.0;
/// Left end of the time's axis; names stand before it.
pub const LEFT: f64 = 150.0;
const RIGHT: f64 = 16.0;
/// Height above the lanes, for the faults' names.
pub const TOP: f64 = 26.0;
/// Height below the lanes, for the times.
const BOTTOM: f64 = 22.0;

/// A picture that grows.
pub struct TimeChart {
    from: u64,
    until: u64,
    /// The height of the lanes.
    height: f64,
    body: String,
    label: String,
}

impl TimeChart {
    /// A picture of a stretch of time.
    pub fn new(label: &str, from: u64, until: u64, height: f64) -> TimeChart {
        TimeChart {
            from,
            until: until.max(from + 1),
            height,
            body: String::new(),
            label: label.to_owned(),
        }
    }

    /// Returns the place of a time.
    pub fn x(&self, time: u64) -> f64 {
        let span = (self.until - self.from) as f64;
        let at = time.clamp(self.from, self.until) - self.from;
        LEFT + at as f64 / span * (WIDTH - LEFT - RIGHT)
    }

    /// Returns whether any of a span is within the chart.
    pub fn sees(&self, from: u64, until: u64) -> bool {
        from <= self.until && until >= self.from
    }

    /// Shades the faults, and names as many as there is place for.
    pub fn faults(&mut self, faults: &[FaultRecord]) {
        let mut free = LEFT;
        let height = self.height;
        for fault in faults {
            let healed = fault.healed.unwrap_or(self.until);
            if !self.sees(fault.begun, healed) {
                continue;
            }
            let title = escape(&format!(
                "{} ({}): {}",
                fault.nemesis, fault.target, fault.probe
            ));
            self.rect(
                "fault",
                self.x(fault.begun),
                self.x(healed),
                TOP,
                height,
                &title,
            );
            if let Some(effective) = fault.effective {
                let healing = fault.healing.unwrap_or(healed).max(effective);
                self.rect(
                    "effective",
                    self.x(effective),
                    self.x(healing),
                    TOP,
                    height,
                    &title,
                );
            }
            let at = self.x(fault.begun);
            if at >= free {
                let named = escape(&fault.nemesis);
                self.text("", at + 2.0, TOP - 8.0, &named);
                free = at + 10.0 + 6.0 * fault.nemesis.len() as f64;
            }
        }
    }

    /// Draws a rectangle from one x to another; `title` is shown to who points at it.
    pub fn rect(&mut self, class: &str, from: f64, until: f64, y: f64, height: f64, title: &str) {
        let width = (until - from).max(0.8);
        let title = if title.is_empty() {
            String::new()
        } else {
            format!("<title>{title}</title>")
        };
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">{title}</rect>"
        );
    }

    /// Draws a text; it is HTML already.
    pub fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        );
    }

    /// Draws a path by its drawing commands.
    pub fn path(&mut self, class: &str, d: &str) {
        if !d.is_empty() {
            let _ = writeln!(self.body, "<path class=\"{class}\" d=\"{d}\"/>");
        }
    }

    /// Writes the name of a lane, beside it.
    pub fn lane(&mut self, y: f64, name: &str) {
        self.text("end", LEFT - 8.0, y + 4.0, &escape(name));
    }

    /// Draws a line across.
    pub fn across(&mut self, y: f64) {
        let d = format!("M{LEFT:.1} {y:.1}H{:.1}", WIDTH - RIGHT);
        self.path("axis", &d);
    }

    /// Ends the chart, with times below.
    pub fn finish(mut self) -> String {
        let bottom = TOP + self.height;
        self.across(bottom);
        let span = (self.until - self.from) as f64 / 1e9;
        let step = step(span);
        let mut at = (self.from as f64 / 1e9 / step).ceil() * step;
        while at <= self.until as f64 / 1e9 {
            let x = self.x((at * 1e9) as u64);
            self.path("axis", &format!("M{x:.1} {bottom:.1}v4"));
            let digits = if step < 1.0 {
                1 + usize::from(step < 0.1)
            } else {
                0
            };
            self.text("middle", x, bottom + 16.0, &format!("{at:.digits$} s"));
            at += step;
        }
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
            bottom + BOTTOM,
            escape(&self.label),
            self.body
        )
    }
}

/// Returns a round distance between marks, about ten of them.
fn step(span: f64) -> f64 {
    let rough = (span / 10.0).max(0.01);
    let power = 10_f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0];
    let fits = times.iter().find(|times| **times * power >= rough);
    fits.unwrap_or(&10.0) * power
}
