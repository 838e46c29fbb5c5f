//! Every claim in `docs/guarantees.md` names the tests that hold it, and they are there.

use std::collections::BTreeSet;

use crate::tree::{Finding, Tree};

const PATH: &str = "docs/guarantees.md";
/// Before the names, in each claim.
const HELD_BY: &str = "Held by ";
/// The section whose list items are claims.
const CLAIMS: &str = "## Claimed";
/// The section whose table has tests in its second column.
const TABLE: &str = "## Which test";

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let tests = tests(tree);
    let mut findings = Vec::new();
    let mut section = "";
    for (n, line) in tree.file(PATH).unwrap_or_default().lines().enumerate() {
        if line.starts_with("## ") {
            section = line;
        }
        let names = if section.starts_with(CLAIMS) && line.starts_with("- ") {
            line.rsplit_once(HELD_BY).map_or("", |(_, names)| names)
        } else if section.starts_with(TABLE) && line.starts_with("| ") && line.contains('`') {
            line.split('|').nth(2).unwrap_or_default()
        } else {
            continue;
        };
        let mut names = names.split('`').skip(1).step_by(2).peekable();
        if names.peek().is_none() {
            findings.push(finding(n, "a claim that names no test".to_owned()));
        }
        for name in names.filter(|name| !tests.contains(name)) {
            findings.push(finding(n, format!("there is no test `{name}`")));
        }
    }
    findings
}

fn finding(n: usize, rule: String) -> Finding {
    Finding {
        path: PATH.to_owned(),
        line: n + 1,
        rule,
        reason: "what is promised is what a test holds",
    }
}

/// The names of the functions that follow a test's attribute.
fn tests(tree: &Tree) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (_, text) in tree.texts.iter().filter(|(path, _)| path.ends_with(".rs")) {
        let mut marked = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if !line.starts_with("#[") && !line.starts_with("//") {
                let rest = line.strip_prefix("async ").unwrap_or(line);
                let name = rest.strip_prefix("fn ").and_then(|it| it.split('(').next());
                names.extend(name.filter(|_| marked));
                marked = false;
            }
        }
    }
    names
}

#[test]
fn claims_without_a_test_are_found() {
    let doc = "# A\n- not a claim\n## Claimed\n### B\n- good. Held by `there`, `there_too`.\n- bare `there`.\n- gone. Held by `nowhere`.\n## Which test\n| part | test |\n|---|---|\n| a `lease` | `there` |\n| b | `helper` |\n## Not\n- `x`\n";
    let code = "//! T.\n#[test]\nfn there() {}\n#[tokio::test(start_paused = true)]\n// slow\nasync fn there_too() {}\nfn helper() {}\n";
    let tree = Tree::small(&[(PATH, doc), ("tests/t.rs", code)]);
    let found: Vec<String> = findings(&tree)
        .iter()
        .map(|f| format!("{} {}", f.line, f.rule))
        .collect();
    assert_eq!(
        found,
        [
            "6 a claim that names no test",
            "7 there is no test `nowhere`",
            "12 there is no test `helper`",
        ]
    );
}
