//! Page of one run: the verdict first, then findings, pictures, numbers and logs.

use serde_json::Value;

use super::{
    html::{self, class, escape, folded, grade, grouped, seconds, table},
    logs, plots, reigns, timeline,
};
use crate::{
    checker::{
        finding::{CheckFinding, FindingGrade},
        recorded_run::RecordedRun,
    },
    history::FaultRecord,
    verdict::RunVerdict,
};

/// The name of the file that a run's report is written to.
pub const FILE: &str = "report.html";
/// Number of findings that are told in full.
const FINDINGS: usize = 60;
/// Number of stretches that are drawn operation by operation: those around findings come first,
/// then those around faults.
const STRETCHES: usize = 8;
/// Time before and after the interesting part of a stretch.
const MARGIN: u64 = 700_000_000;
/// Length of the longest stretch.
const LONGEST: u64 = 8_000_000_000;

/// Makes the page of one run.
pub fn page(run: &RecordedRun, verdict: &RunVerdict) -> String {
    let plan = &run.plan;
    let nemeses = plan.nemeses().join(" + ");
    let title = format!(
        "{}: {} under {nemeses}, seed {}",
        verdict.outcome, plan.workload, plan.seed
    );
    let mut body = head(run, verdict, &nemeses);
    body += &findings(&verdict.findings);
    body += &anomalies(verdict);
    body += "<h2>Operations of each client</h2>\n<p class=\"key\">\
        <span><i style=\"background:var(--ok)\"></i>done</span>\
        <span><i style=\"background:var(--info)\"></i>not known</span>\
        <span><i style=\"background:var(--fail)\"></i>failed</span>\
        <span><i style=\"background:var(--fault);opacity:.25\"></i>a fault, darker while it was seen to be in effect</span></p>\n";
    body += &timeline::whole(run);
    body += &stretches(run, verdict);
    body += "<h2>How long they took</h2>\n<p class=\"dim\">What was done, by when it ended: the middle (green), 95 of 100 (yellow), the longest (red).</p>\n";
    body += &plots::latency(run);
    body += "<h2>How many there were</h2>\n<p class=\"dim\">Done (green), not known (yellow), failed (grey).</p>\n";
    body += &plots::throughput(run);
    let reigns = reigns::picture(run);
    if !reigns.is_empty() {
        body += "<h2>Leaders, connector servers and connectors</h2>\n<p class=\"key\">";
        for member in 1..=plan.members.min(5) {
            body += &format!(
                "<span><i style=\"background:var(--m{member})\"></i>member {member}</span>"
            );
        }
        body += "<span><i style=\"background:var(--bad);width:2px\"></i>a call that was refused</span></p>\n";
        body += &reigns;
    }
    body += &faults(run);
    body += "<h2>Numbers</h2>\n";
    body += &numbers(verdict);
    let machine = plots::machine(run);
    if !machine.is_empty() {
        body += "<h2>The machine</h2>\n<p class=\"dim\">How late a task woke up (red), and what the hypervisor took (yellow).</p>\n";
        body += &machine;
    }
    body += "<h2>Logs</h2>\n";
    body += &logs::of_members(&run.folder, plan.members);
    let whole = serde_json::to_string_pretty(&plan.whole).unwrap_or_default();
    body += &folded("The plan", &format!("<pre>{}</pre>\n", escape(&whole)));
    body += "<p class=\"dim\">Files: ";
    for file in [
        "plan.json",
        "history.jsonl",
        "faults.jsonl",
        "reigns.jsonl",
        "connectors.jsonl",
        "final.json",
        "host.json",
        "verdict.json",
    ] {
        if run.folder.join(file).exists() {
            body += &format!("<a href=\"{file}\">{file}</a> ");
        }
    }
    body += "</p>\n";
    html::document(&title, &body)
}

fn head(run: &RecordedRun, verdict: &RunVerdict, nemeses: &str) -> String {
    let plan = &run.plan;
    let count = |grade| {
        verdict
            .findings
            .iter()
            .filter(|it| it.grade == grade)
            .count()
    };
    let because = match (
        count(FindingGrade::Wrong),
        count(FindingGrade::Late),
        count(FindingGrade::Unsure),
    ) {
        (0, 0, 0) => "Nothing that was looked for was found.".to_owned(),
        (wrong, late, unsure) => {
            let parts = [(wrong, "wrong"), (late, "late"), (unsure, "unsure")];
            let told: Vec<String> = parts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} × {what}"))
                .collect();
            format!("Found: {}.", told.join(", "))
        }
    };
    let voided = if verdict.voided {
        "<p class=\"unsure\">The machine was starved: this run says nothing about time, and is counted as void.</p>\n"
    } else {
        ""
    };
    let mutant = match plan.whole.get("mutant") {
        Some(Value::String(name)) => {
            format!(", with the planted bug <code>{}</code>", escape(name))
        }
        _ => String::new(),
    };
    let count = |name: &str| grouped(verdict.numbers.get(name).copied().unwrap_or(0));
    format!(
        "<header><div class=\"verdict {}\">{}</div><div><h1>{} under {}</h1>\
         <small>seed {}, {} members, failover_ms {}, {}{mutant}; {:.0} s, {} operations, {} faults</small></div></header>\n\
         <p>{because}</p>\n{voided}<p>Run it again:</p>\n<pre>{}</pre>\n",
        class(verdict.outcome),
        verdict.outcome,
        escape(&plan.workload),
        escape(if nemeses.is_empty() {
            "no fault"
        } else {
            nemeses
        }),
        plan.seed,
        plan.members,
        plan.failover_ms,
        escape(
            plan.whole
                .get("network")
                .and_then(Value::as_str)
                .unwrap_or("")
        ),
        run.end() as f64 / 1e9,
        count("operations"),
        count("faults_done"),
        escape(&plan.command),
    )
}

fn findings(findings: &[CheckFinding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let row = |it: &CheckFinding| {
        let name = grade(it.grade);
        let lines: Vec<String> = it.operations.iter().take(6).map(usize::to_string).collect();
        vec![
            format!("<span class=\"grade {name}\">{name}</span>"),
            escape(&it.checker),
            format!("<b>{}</b>: {}", escape(&it.kind), escape(&it.what)),
            it.from.map_or_else(String::new, seconds),
            lines.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = findings.iter().take(FINDINGS).map(row).collect();
    let mut text = "<h2>What was found</h2>\n".to_owned();
    text += &table(
        &["", "by", "what", "at, s", "lines of history.jsonl"],
        &[3],
        &rows,
    );
    if findings.len() > FINDINGS {
        text += &format!(
            "<p class=\"dim\">{} more stand in verdict.json.</p>\n",
            findings.len() - FINDINGS
        );
    }
    text
}

fn anomalies(verdict: &RunVerdict) -> String {
    if verdict.anomalies.is_empty() {
        return String::new();
    }
    let mut text = "<h2>Made as small as can be</h2>\n".to_owned();
    for it in &verdict.anomalies {
        text += &format!(
            "<div class=\"card\"><p><b>{}</b>: {}</p>\n{}</div>\n",
            escape(&it.checker),
            escape(&it.what),
            timeline::anomaly(it)
        );
    }
    text
}

/// Draws closely what is around anomalies and findings, then around faults.
fn stretches(run: &RecordedRun, verdict: &RunVerdict) -> String {
    let small = verdict.anomalies.iter().filter_map(|it| {
        let from = it.operations.iter().map(|it| it.start).min()?;
        let until = it.operations.iter().map(|it| it.told).max()?;
        Some((it.what.clone(), from, until))
    });
    let found = verdict
        .findings
        .iter()
        .filter(|it| it.grade != FindingGrade::Note);
    let found = found.filter(|it| it.checker != "linear");
    let found = found.filter_map(|it| Some((it.kind.clone(), it.from?, it.until.or(it.from)?)));
    let done = |it: &FaultRecord| {
        let name = format!("{} ({})", it.nemesis, it.target);
        (name, it.begun, it.healed.unwrap_or(it.begun))
    };
    let mut drawn: Vec<(u64, u64)> = Vec::new();
    let mut text = String::new();
    for (name, from, until) in small.chain(found).chain(run.faults.iter().map(done)) {
        if drawn
            .iter()
            .any(|(begun, ended)| *begun <= from && *ended >= from)
        {
            continue;
        }
        let from = from.saturating_sub(MARGIN);
        let until = (until + MARGIN).min(from + LONGEST);
        drawn.push((from, until));
        let title = format!("{}, {}–{} s", escape(&name), seconds(from), seconds(until));
        text += &folded(&title, &timeline::stretch(run, from, until));
        if drawn.len() >= STRETCHES {
            break;
        }
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "<p class=\"dim\">Closely, operation by operation; point at one to read it:</p>\n{text}"
    )
}

fn faults(run: &RecordedRun) -> String {
    if run.faults.is_empty() {
        return String::new();
    }
    let row = |it: &FaultRecord| {
        let after = |time: Option<u64>, since: u64| {
            time.map_or("never".to_owned(), |time| {
                format!("{} ms", grouped(time.saturating_sub(since) / 1_000_000))
            })
        };
        vec![
            seconds(it.begun),
            escape(&it.nemesis),
            escape(&it.target),
            after(it.effective, it.begun),
            after(it.healed, it.begun),
            escape(&it.probe),
        ]
    };
    let rows: Vec<Vec<String>> = run.faults.iter().map(row).collect();
    let head = [
        "at, s",
        "fault",
        "done to",
        "in effect after",
        "healed after",
        "what the probe saw",
    ];
    let table = table(&head, &[0, 3, 4], &rows);
    format!(
        "<h2>Faults</h2>\n{}",
        if rows.len() > 25 {
            folded("all of them", &table)
        } else {
            table
        }
    )
}

fn numbers(verdict: &RunVerdict) -> String {
    let one = |(name, number): (&String, &u64)| {
        format!(
            "<div><span>{}</span><span>{}</span></div>\n",
            escape(name),
            grouped(*number)
        )
    };
    let all: String = verdict.numbers.iter().map(one).collect();
    format!("<div class=\"columns\">\n{all}</div>\n")
}
