//! The tables, in Markdown.

use std::fmt::Write as _;

use crate::{
    fault::Fault,
    goal::Goal,
    plan::{Case, What},
    record::{Record, Series},
    report::stats::{percentile, sorted},
};

const FAULTS: [Fault; 5] = [
    Fault::Kill,
    Fault::Term,
    Fault::Stop,
    Fault::Group,
    Fault::Partition,
];

/// The whole file.
pub fn render(record: &Record, known: &[(Case, &Series)]) -> String {
    let mut out = String::from("# Failover, measured\n\n");
    let _ = writeln!(
        out,
        "{} How it is measured, and what it doesn't say: [benchmarks.md](../benchmarks.md). Milliseconds from the fault.\n",
        super::source()
    );
    for run in &record.runs {
        let hosts = if run.isolated_hosts {
            "a network namespace per member"
        } else {
            "loopback"
        };
        let versions: Vec<_> = run
            .versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let arguments = match run.arguments.as_str() {
            "" => "everything".to_owned(),
            arguments => format!("`{arguments}`"),
        };
        let _ = writeln!(
            out,
            "- {} to {}, {arguments}: {}; {hosts}; {}",
            run.began,
            run.ended,
            run.machine,
            versions.join(", ")
        );
    }
    out += "\n![ECDF on a log axis, one panel for each fault](failover.svg)\n";
    for fault in FAULTS {
        let rows: Vec<_> = known
            .iter()
            .filter(|(case, _)| case.fault == fault)
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n## {}\n\n{HEAD}", capital(fault.name()));
        for (case, series) in rows {
            for (measure, name) in measures(case) {
                out += &row(case, series, measure, name);
            }
        }
    }
    out += &seen(known);
    out
}

const HEAD: &str = "| system | setting | to the first | n | p50 | p95 | max | goal | |\n|---|---|---|--:|--:|--:|--:|---|---|";

fn measures(case: &Case) -> &'static [(&'static str, &'static str)] {
    match (case.what, case.fault) {
        (What::Message(_), Fault::Term) => &[
            ("message", "message"),
            ("gap", "message, from the last before"),
            ("write", "write"),
        ],
        (What::Message(_), _) => &[
            ("message", "message"),
            ("last_message", "message of the last channel"),
            ("busy", "(processors busy until then, %)"),
            ("release", "release by the broker"),
            ("cut", "(the cut is made, at the latest)"),
            ("write", "write"),
        ],
        (What::Write, _) => &[("write", "write")],
        (What::Lock(_), _) => &[("lock", "next holder")],
    }
}

fn row(case: &Case, series: &Series, measure: &str, name: &str) -> String {
    let values = sorted(&series.trials, measure);
    let told_as_failed = measure == measures(case)[0].0 && !series.failures.is_empty();
    if values.is_empty() && !told_as_failed {
        return String::new();
    }
    let goal = Goal::of(case).filter(|_| measure == "message");
    let verdict = goal.map_or(String::new(), |goal| match goal.missed(&series.trials) {
        missed if missed.is_empty() && series.failures.is_empty() => "met".to_owned(),
        missed => format!("**missed** {missed}").trim_end().to_owned(),
    });
    let count = match series.failures.len() {
        0 => values.len().to_string(),
        failed => format!("{} (+ {failed} failed)", values.len()),
    };
    let figure = |percent| match values.is_empty() {
        true => "–".to_owned(),
        false => number(percentile(&values, percent)),
    };
    format!(
        "| {} | {} | {name} | {count} | {} | {} | {} | {} | {verdict} |\n",
        series.system,
        series.setting,
        figure(50),
        figure(95),
        figure(100),
        goal.map_or(String::new(), Goal::text),
    )
}

/// Three digits at most behind which nothing was measured.
fn number(ms: f64) -> String {
    if ms < 100.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.0}")
    }
}

/// Duplicates and stale calls, which a fast failover must not be paid with.
fn seen(known: &[(Case, &Series)]) -> String {
    let mut out = String::new();
    for fault in FAULTS {
        let of_fault = known.iter().filter(|(case, _)| case.fault == fault);
        let trials: Vec<_> = of_fault.flat_map(|(_, series)| &series.trials).collect();
        let values = |name: &str| {
            trials
                .iter()
                .filter_map(|trial| trial.get(name).copied())
                .collect::<Vec<_>>()
        };
        let (duplicates, stale) = (values("duplicates"), values("stale"));
        if duplicates.is_empty() {
            continue;
        }
        let most = duplicates.iter().copied().fold(0.0, f64::max);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {most} | {} |",
            fault.name(),
            duplicates.len(),
            duplicates.iter().sum::<f64>(),
            stale.iter().sum::<f64>()
        );
    }
    match out.is_empty() {
        true => out,
        false => format!(
            "\n## What Quorate's service saw\n\nA message may come twice after a fault that is not announced, at most prefetch + in flight of them (here 10 a channel). A call under an older epoch after one under a newer must never come.\n\n| fault | trials | duplicates | most in one trial | stale calls |\n|---|--:|--:|--:|--:|\n{out}"
        ),
    }
}

fn capital(text: &str) -> String {
    text.replacen("kill", "Kill", 1)
        .replacen("partition", "Partition", 1)
}
