//! Summary of many runs.

use quorate_testkit::error_chain::chain;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    html::{self, escape, grouped, table},
    run_page,
};
use crate::{checker::operation::brief, outcome::RunOutcome, verdict::RunVerdict};

/// Numbers that are a worst, and not a sum, over runs.
fn is_worst(name: &str) -> bool {
    name.contains("worst")
        || name.contains("p95")
        || name.contains("percent")
        || name.starts_with("final.")
        || ["calls.epochs", "queue.handled_most_often"].contains(&name)
}

/// Results of many runs together.
#[derive(Clone, Debug, Default)]
pub struct RunsSummary {
    /// Each run and its verdict.
    pub runs: Vec<(PathBuf, RunVerdict)>,
    /// Runs' folders without a verdict, and why.
    pub unread: Vec<String>,
    /// Numbers over all runs that were not void.
    pub numbers: BTreeMap<String, u64>,
}

/// Reads the verdicts of runs' folders.
pub fn summary(folders: &[&Path]) -> RunsSummary {
    let mut summary = RunsSummary::default();
    for folder in folders {
        match RunVerdict::read(folder) {
            Ok(verdict) => summary.runs.push(((*folder).to_owned(), verdict)),
            Err(error) => {
                let unread = format!("{}; `recheck` writes it anew", chain(&error));
                summary.unread.push(unread);
            }
        }
    }
    for (_, verdict) in summary.runs.iter().filter(|(_, verdict)| !verdict.voided) {
        for (name, number) in &verdict.numbers {
            let known = summary.numbers.entry(name.clone()).or_default();
            *known = if is_worst(name) {
                (*known).max(*number)
            } else {
                *known + number
            };
        }
    }
    summary
}

impl RunsSummary {
    /// Returns how many runs ended so; void ones are counted apart.
    pub fn ended(&self, outcome: RunOutcome) -> usize {
        let ended = self.runs.iter().filter(|(_, it)| it.outcome == outcome);
        ended
            .filter(|(_, it)| !it.voided || it.outcome == RunOutcome::Fail)
            .count()
    }

    /// Returns how many runs were void without anything wrong.
    pub fn voided(&self) -> usize {
        let void = self
            .runs
            .iter()
            .filter(|(_, it)| it.voided && it.outcome != RunOutcome::Fail);
        void.count()
    }

    /// Formats the summary as Markdown, for the documentation.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.sentence());
        text +=
            "| workload | runs | pass | FAIL | UNKNOWN | void | operations | faults in effect |\n";
        text += "|---|---|---|---|---|---|---|---|\n";
        for (workload, it) in self.by_workload() {
            text += &format!(
                "| {workload} | {} | {} | {} | {} | {} | {} | {} |\n",
                it.runs.len(),
                it.ended(RunOutcome::Pass),
                it.ended(RunOutcome::Fail),
                it.ended(RunOutcome::Unknown),
                it.voided(),
                grouped(it.number("operations")),
                grouped(it.effective()),
            );
        }
        text += "\n| fault | done | in effect |\n|---|---|---|\n";
        for (name, done, effective) in self.faults() {
            text += &format!("| {name} | {} | {} |\n", grouped(done), grouped(effective));
        }
        text += "\n| what | |\n|---|---|\n";
        for (name, number) in &self.numbers {
            if !name.starts_with("faults") {
                text += &format!("| {name} | {} |\n", grouped(*number));
            }
        }
        text
    }

    /// Formats the summary as a page, with links to each run's report relative to `beside`.
    pub fn page(&self, beside: &Path) -> String {
        let worst = self
            .runs
            .iter()
            .map(|(_, it)| it.outcome)
            .max()
            .unwrap_or(RunOutcome::Unknown);
        let mut body = format!(
            "<header><div class=\"verdict {}\">{worst}</div><div><h1>{} runs</h1><small>{}</small></div></header>\n",
            html::class(worst),
            self.runs.len(),
            escape(&self.sentence()),
        );
        for unread in &self.unread {
            body += &format!("<p class=\"unsure\">{}</p>\n", escape(unread));
        }
        let mut runs: Vec<&(PathBuf, RunVerdict)> = self.runs.iter().collect();
        runs.sort_by_key(|(folder, it)| (std::cmp::Reverse(it.outcome), folder.clone()));
        let rows: Vec<Vec<String>> = runs
            .iter()
            .map(|(folder, it)| row(folder, it, beside))
            .collect();
        let head = [
            "",
            "run",
            "workload",
            "seed",
            "operations",
            "the worst that was found",
        ];
        body += "<h2>Runs</h2>\n";
        body += &table(&head, &[3, 4], &rows);
        body += "<h2>Faults</h2>\n";
        let faults = self.faults();
        let faults: Vec<Vec<String>> = faults
            .iter()
            .map(|(name, done, effective)| vec![escape(name), grouped(*done), grouped(*effective)])
            .collect();
        body += &table(&["fault", "done", "in effect"], &[1, 2], &faults);
        body += "<h2>Numbers</h2>\n<div class=\"columns\">\n";
        for (name, number) in &self.numbers {
            body += &format!(
                "<div><span>{}</span><span>{}</span></div>\n",
                escape(name),
                grouped(*number)
            );
        }
        body += "</div>\n";
        html::document("Summary of chaos runs", &body)
    }

    fn sentence(&self) -> String {
        format!(
            "{} runs: {} pass, {} FAIL, {} UNKNOWN, {} void, {} without a verdict; {} operations, {} faults that took effect.",
            self.runs.len() + self.unread.len(),
            self.ended(RunOutcome::Pass),
            self.ended(RunOutcome::Fail),
            self.ended(RunOutcome::Unknown),
            self.voided(),
            self.unread.len(),
            grouped(self.number("operations")),
            grouped(self.effective()),
        )
    }

    fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    fn effective(&self) -> u64 {
        let names = self
            .numbers
            .iter()
            .filter(|(name, _)| name.starts_with("faults_effective."));
        names.map(|(_, number)| number).sum()
    }

    fn faults(&self) -> Vec<(String, u64, u64)> {
        let kinds = self.numbers.iter().filter_map(|(name, done)| {
            let kind = name.strip_prefix("faults.")?;
            let effective = self.number(&format!("faults_effective.{kind}"));
            Some((kind.to_owned(), *done, effective))
        });
        kinds.collect()
    }

    fn by_workload(&self) -> BTreeMap<String, RunsSummary> {
        let mut names: Vec<&str> = self
            .runs
            .iter()
            .map(|(_, it)| it.workload.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let of = |name: &str| {
            let runs = self.runs.iter().filter(|(_, it)| it.workload == name);
            let folders: Vec<&Path> = runs.map(|(folder, _)| folder.as_path()).collect();
            (name.to_owned(), summary(&folders))
        };
        names.into_iter().map(of).collect()
    }
}

fn row(folder: &Path, it: &RunVerdict, beside: &Path) -> Vec<String> {
    let name = folder
        .file_name()
        .map_or_else(String::new, |it| it.to_string_lossy().into_owned());
    let link = folder
        .strip_prefix(beside)
        .unwrap_or(folder)
        .join(run_page::FILE);
    let worst = it.findings.first().map_or_else(String::new, |it| {
        format!(
            "<b>{}</b>: {}",
            escape(&it.kind),
            escape(&brief(&it.what.clone().into()))
        )
    });
    let void = if it.voided { ", void" } else { "" };
    vec![
        format!("<span class=\"{0}\">{0}{void}</span>", it.outcome),
        format!(
            "<a href=\"{}\">{}</a>",
            escape(&link.to_string_lossy()),
            escape(&name)
        ),
        escape(&it.workload),
        it.seed.to_string(),
        grouped(it.numbers.get("operations").copied().unwrap_or(0)),
        worst,
    ]
}
