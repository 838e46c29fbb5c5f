//! Program `house`: prints the figures of a checkout, or what keeps one from its goal.
#![forbid(unsafe_code)]

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use quorate_house::{CulpritPlace, HouseReport, measure, render_table};

/// Measures a source tree: lines, crates, type names, import circles, lengths, errors.
#[derive(Parser)]
struct HouseOptions {
    /// Root of the checkout to measure.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    tree: PathBuf,
    /// Prints JSON instead of a table or list.
    #[arg(long)]
    json: bool,
    /// Prints the places that keep a figure from its goal, by path and line.
    #[arg(long, value_name = "FIGURE")]
    list: Option<CulpritList>,
}

#[derive(Clone, Copy, ValueEnum)]
enum CulpritList {
    Names,
    Circles,
    Functions,
    Files,
    StringErrors,
}

fn main() -> ExitCode {
    let options = HouseOptions::parse();
    let text = match measure(&options.tree) {
        Ok(report) => rendered(&report, &options),
        Err(error) => return failed(&error),
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has gone away (`| head`) is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    // With stderr closed, the exit code is all that can be given.
    let _ = writeln!(io::stderr(), "house: {error}");
    ExitCode::FAILURE
}

fn rendered(report: &HouseReport, options: &HouseOptions) -> String {
    match (options.list, options.json) {
        (None, false) => render_table(report) + "\n",
        (None, true) => json(report),
        (Some(CulpritList::Circles), false) => circle_list(report),
        (Some(CulpritList::Circles), true) => json(&report.import_circles.circles),
        (Some(list), json_wanted) => {
            let culprits = culprits(report, list);
            if json_wanted {
                json(&culprits)
            } else {
                culprits.iter().map(|place| format!("{place}\n")).collect()
            }
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    text.expect("invariant: figures, paths and texts can be written as JSON") + "\n"
}

fn culprits(report: &HouseReport, list: CulpritList) -> &[CulpritPlace] {
    match list {
        CulpritList::Names => &report.type_names.culprits,
        CulpritList::Circles => &[],
        CulpritList::Functions => &report.functions.culprits,
        CulpritList::Files => &report.files.culprits,
        CulpritList::StringErrors => &report.string_errors.culprits,
    }
}

fn circle_list(report: &HouseReport) -> String {
    let mut text = String::new();
    for circle in &report.import_circles.circles {
        let _ = writeln!(
            text,
            "{} files: {}",
            circle.files.len(),
            circle.files.join(" ")
        );
        for import in &circle.imports {
            let _ = writeln!(text, "  {import}");
        }
    }
    text
}
