//! HTML helpers of the reports.

use crate::{checker::finding::FindingGrade, outcome::RunOutcome};

/// A text that can stand anywhere in a page.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(c),
            // Logs may hold colours and worse, which no page may.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Makes a whole page.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title),
        include_str!("style.css"),
    )
}

/// A table. Cells are HTML already; those of columns named in `right` stand to the right.
pub fn table(head: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let class = |column| {
        if right.contains(&column) {
            " class=\"n\""
        } else {
            ""
        }
    };
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
        let cells = cells.enumerate();
        let cells = cells.map(|(n, cell)| format!("<{tag}{}>{cell}</{tag}>", class(n)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let head = cells("th", &mut head.iter().copied());
    let rows: String = rows
        .iter()
        .map(|row| cells("td", &mut row.iter().map(String::as_str)))
        .collect();
    format!("<table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table>\n")
}

/// Makes a part that readers open when they want to see it.
pub fn folded(title: &str, body: &str) -> String {
    format!("<details><summary>{title}</summary>\n{body}</details>\n")
}

/// Formats a time in seconds.
pub fn seconds(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e9)
}

/// Formats a number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns the class of an outcome, as the style knows it.
pub fn class(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Pass => "pass",
        RunOutcome::Fail => "fail",
        RunOutcome::Unknown => "unknown",
    }
}

/// A grade in words.
pub fn grade(grade: FindingGrade) -> &'static str {
    match grade {
        FindingGrade::Wrong => "wrong",
        FindingGrade::Late => "late",
        FindingGrade::Unsure => "unsure",
        FindingGrade::Note => "note",
    }
}
