//! Where a report goes, and what every report says first.

use std::{fs, path::Path};

use quorate_clock::wall_time;
use serde_json::Value;

use quorate_testkit::machine;

/// The machine, the day and the command, as the beginning of a report.
pub fn head(title: &str, command: &str) -> String {
    let now = humantime::format_rfc3339_seconds(wall_time()).to_string();
    let (day, time) = now.split_once('T').unwrap_or((&now, ""));
    let time = time.trim_end_matches('Z');
    format!(
        "# {title}\n\nMeasured on {day}, done at {time} UTC, on {}; all members, the broker and the clients on it. \
         Command: `{command}`. Written by that command; the raw figures stand beside it as JSON.\n",
        machine::describe()
    )
}

/// Writes `NAME.md` and `NAME.json`.
pub fn write(out: &Path, name: &str, markdown: &str, raw: &Value) {
    fs::create_dir_all(out).expect("the report's folder");
    let raw = serde_json::to_string_pretty(raw).expect("JSON");
    fs::write(out.join(format!("{name}.json")), raw + "\n").expect("the raw figures");
    let path = out.join(format!("{name}.md"));
    fs::write(&path, markdown).expect("the report");
    println!("{markdown}\nwritten: {}", path.display());
}
