//! How plots look: light or dark as the reader's screen is.

use std::fmt::Write as _;

const CSS: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:14px}\
.m{fill:#57606a;font-size:11px}.g{stroke:#d0d7de}.b{fill:#fff}polyline{fill:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}.g{stroke:#30363d}.b{fill:#0d1117}}";

/// The whole file.
pub fn document(title: &str, width: f64, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\
         <title>{title}</title>\n\
         <style>{CSS}</style>\n<rect class=\"b\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
    )
}

/// A line of the grid.
pub fn grid(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        out,
        "<line class=\"g\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, to.0, from.1, to.1
    );
}

/// A text of a class: `t` for titles, `m` for small print. It begins, ends or has its middle
/// (`start`, `end`, `middle`) at the place.
pub fn text(out: &mut String, class: &str, at: (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
        at.0, at.1
    );
}
