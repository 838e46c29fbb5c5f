//! Claims of `docs/guarantees.md`: each has an id, and a test or a chaos run that holds it.
//!
//! A test bears the ids of the claims that it holds in a comment directly above its
//! attributes, `// guarantee: LEASE-2, REIGN-1`. The list of all of them is a file that is
//! written from the code, so that the document itself names no tests.

use std::collections::BTreeSet;

use crate::tree::{Finding, Tree};

/// The document that makes the claims.
const CLAIMS: &str = "docs/guarantees.md";
/// The list of the tests by claim, written from the code.
pub const LIST: &str = "docs/guarantees-tests.md";
/// The environment variable that has the list written anew.
pub const WRITE: &str = "QUORATE_WRITE_GUARANTEES";
/// The section whose list items are claims.
const ITEMS: &str = "## Claimed";
/// The section whose table rows are claims.
const ROWS: &str = "## The parts of the fence";
/// The beginning of the comment above a test, before the ids.
const MARKER: &str = "// guarantee:";
/// What a claim can name besides tests: the words before its name, and the file that has
/// the name as a string.
const RUNS: [(&str, &str); 2] = [
    ("Held by the workload `", "jepsen/src/workload/catalog.rs"),
    (
        "Held by the planted bug `",
        "crates/testing/planted/src/lib.rs",
    ),
];
const REASON: &str = "what is promised is what a test holds";

struct Claim<'a> {
    line: usize,
    /// None where the claim has none.
    id: Option<&'a str>,
    text: &'a str,
}

struct Marker<'a> {
    path: &'a str,
    line: usize,
    ids: Vec<&'a str>,
    /// None where no test follows.
    test: Option<&'a str>,
}

/// A workload or a planted bug that a claim names.
struct Run<'a> {
    name: &'a str,
    path: &'a str,
    is_there: bool,
}

/// Claims that nothing holds, and markers that lead to no claim.
pub fn findings(tree: &Tree) -> Vec<Finding> {
    let (claims, markers) = (claims(tree), markers(tree));
    let mut findings = Vec::new();
    let mut known = BTreeSet::new();
    for claim in &claims {
        let mut say = |rule| findings.push(finding(CLAIMS, claim.line, rule));
        let Some(id) = claim.id else {
            say("a claim without an id".to_owned());
            continue;
        };
        if !known.insert(id) {
            say(format!("the id {id} is there twice"));
        }
        let runs = runs(tree, claim.text);
        for run in runs.iter().filter(|run| !run.is_there) {
            say(format!("there is no `{}` in {}", run.name, run.path));
        }
        let tested = markers
            .iter()
            .any(|marker| marker.test.is_some() && marker.ids.contains(&id));
        if !tested && runs.is_empty() {
            say(format!("nothing holds {id}"));
        }
    }
    for marker in &markers {
        let mut say = |rule| findings.push(finding(marker.path, marker.line, rule));
        for id in marker.ids.iter().filter(|id| !known.contains(*id)) {
            say(format!("there is no claim `{id}` in {CLAIMS}"));
        }
        if marker.test.is_none() {
            say("no test follows the ids of claims".to_owned());
        }
    }
    findings
}

/// The first difference between the list in the tree and what the code says.
pub fn list_findings(tree: &Tree) -> Vec<Finding> {
    let (right, there) = (list(tree), tree.file(LIST).unwrap_or_default());
    if right == there {
        return Vec::new();
    }
    let same = right
        .lines()
        .zip(there.lines())
        .take_while(|(right, there)| right == there);
    let rule =
        format!("the list isn't what the code says; `{WRITE}=1 cargo test --test tidy` writes it");
    vec![finding(LIST, same.count() + 1, rule)]
}

/// The list as the code says: in the order of the claims, then of the files.
pub fn list(tree: &Tree) -> String {
    let markers = markers(tree);
    let mut list = format!(
        "# Tests by guarantee\n\n\
         Written by `{WRITE}=1 cargo test --test tidy` from the ids of the claims in \
         [guarantees.md](guarantees.md) and from the comments `{MARKER}` above the tests. \
         A house rule compares it with the code; don't edit it.\n\n\
         | claim | held by | in |\n|---|---|---|\n"
    );
    for claim in claims(tree) {
        let Some(id) = claim.id else { continue };
        let tests = markers.iter().filter(|marker| marker.ids.contains(&id));
        let tests = tests.filter_map(|marker| Some((marker.test?, marker.path)));
        let runs = runs(tree, claim.text);
        let runs = runs.iter().map(|run| (run.name, run.path));
        for (name, path) in tests.chain(runs) {
            list.push_str(&format!("| {id} | `{name}` | [{path}](../{path}) |\n"));
        }
    }
    list
}

fn finding(path: &str, line: usize, rule: String) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        rule,
        reason: REASON,
    }
}

fn claims(tree: &Tree) -> Vec<Claim<'_>> {
    let mut claims = Vec::new();
    let (mut section, mut in_rows) = ("", false);
    for (n, line) in tree.file(CLAIMS).unwrap_or_default().lines().enumerate() {
        if line.starts_with("## ") {
            section = line;
        }
        let text = match section {
            ITEMS => line.strip_prefix("- "),
            ROWS if in_rows => line.strip_prefix("| "),
            _ => None,
        };
        in_rows = line.starts_with("|---") || (in_rows && line.starts_with('|'));
        claims.extend(text.map(|text| Claim {
            line: n + 1,
            id: id(text),
            text,
        }));
    }
    claims
}

/// The id in bold with which a claim begins, such as `LEASE-2`.
fn id(text: &str) -> Option<&str> {
    let (id, _) = text.strip_prefix("**")?.split_once("**")?;
    let (topic, number) = id.split_once('-')?;
    let is_id = !topic.is_empty()
        && topic.chars().all(|c| c.is_ascii_uppercase())
        && !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit());
    is_id.then_some(id)
}

fn runs<'a>(tree: &Tree, text: &'a str) -> Vec<Run<'a>> {
    let named = RUNS.into_iter().filter_map(|(before, path)| {
        let (_, rest) = text.split_once(before)?;
        let name = rest.split('`').next()?;
        let file = tree.file(path).unwrap_or_default();
        let is_there = file.contains(&format!("\"{name}\""));
        Some(Run {
            name,
            path,
            is_there,
        })
    });
    named.collect()
}

fn markers(tree: &Tree) -> Vec<Marker<'_>> {
    let mut markers = Vec::new();
    for (path, source) in tree.sources() {
        for (n, line) in source.raw.iter().enumerate() {
            let ids = line.trim_start().strip_prefix(MARKER);
            markers.extend(ids.map(|ids| Marker {
                path,
                line: n + 1,
                ids: ids.split(',').map(str::trim).collect(),
                test: test_below(&source.raw[n + 1..]),
            }));
        }
    }
    markers
}

/// The name of the test whose attributes come first.
fn test_below(lines: &[String]) -> Option<&str> {
    let mut is_test = false;
    for line in lines.iter().map(|line| line.trim_start()) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            let item = line.strip_prefix("async ").unwrap_or(line);
            let name = item.strip_prefix("fn ")?.split('(').next();
            return name.filter(|_| is_test);
        }
    }
    None
}

#[cfg(test)]
const DOC: &str = "# A\n- not a claim\n## Claimed\n### B\n- **LEASE-1** By tests.\n- **LEASE-2** By a run. Held by the workload `mutex`.\n## The parts of the fence\n| id | part |\n|---|---|\n| **FENCE-1** | the `lease` |\n\n## Not claimed\n- **Order**\n";
#[cfg(test)]
const CODE: &str = "//! T.\n// guarantee: LEASE-1, FENCE-1\n#[test]\nfn there() {}\nmod tests {\n    /// Slow.\n    // guarantee: LEASE-1\n    #[tokio::test(start_paused = true)]\n    // Once a day.\n    #[ignore]\n    async fn there_too() {}\n}\nfn helper() {}\n";
#[cfg(test)]
const CATALOG: (&str, &str) = ("jepsen/src/workload/catalog.rs", "&[\"mutex\"];\n");

#[cfg(test)]
fn told(findings: &[Finding]) -> Vec<String> {
    let told = findings
        .iter()
        .map(|f| format!("{}:{} {}", f.path, f.line, f.rule));
    told.collect()
}

#[test]
fn claims_that_nothing_holds_are_found() {
    let found = |doc: &str, code: &str| {
        told(&findings(&Tree::small(&[
            (CLAIMS, doc),
            ("tests/t.rs", code),
            CATALOG,
        ])))
    };
    assert_eq!(found(DOC, CODE), [""; 0]);
    let doc = DOC.replace("**LEASE-2** By", "By");
    assert_eq!(
        found(&doc, CODE),
        ["docs/guarantees.md:6 a claim without an id"]
    );
    let doc = DOC.replace("| **FENCE-1** ", "| **Fence** ");
    assert_eq!(
        found(&doc, CODE),
        [
            "docs/guarantees.md:10 a claim without an id",
            "tests/t.rs:2 there is no claim `FENCE-1` in docs/guarantees.md",
        ]
    );
    let doc = DOC.replace("LEASE-2", "LEASE-1");
    assert_eq!(
        found(&doc, CODE),
        ["docs/guarantees.md:6 the id LEASE-1 is there twice"]
    );
    let doc = DOC.replace("`mutex`", "`mutexes`");
    assert_eq!(
        found(&doc, CODE),
        ["docs/guarantees.md:6 there is no `mutexes` in jepsen/src/workload/catalog.rs"]
    );
    let doc = DOC.replace(" Held by the workload `mutex`.", "");
    assert_eq!(
        found(&doc, CODE),
        ["docs/guarantees.md:6 nothing holds LEASE-2"]
    );
}

#[test]
fn markers_that_lead_nowhere_are_found() {
    let found = |code: &str| {
        told(&findings(&Tree::small(&[
            (CLAIMS, DOC),
            ("tests/t.rs", code),
            CATALOG,
        ])))
    };
    let code = CODE.replace("FENCE-1", "FENCE-1, FENCE-2");
    assert_eq!(
        found(&code),
        ["tests/t.rs:2 there is no claim `FENCE-2` in docs/guarantees.md"]
    );
    let code = CODE.replace("fn helper", "// guarantee: LEASE-1\nfn helper");
    assert_eq!(
        found(&code),
        ["tests/t.rs:13 no test follows the ids of claims"]
    );
    // What stands above no test holds nothing.
    let code = CODE.replace("#[test]\n", "");
    assert_eq!(
        found(&code),
        [
            "docs/guarantees.md:10 nothing holds FENCE-1",
            "tests/t.rs:2 no test follows the ids of claims",
        ]
    );
}

#[test]
fn outdated_list_of_tests_is_found() {
    let tree =
        |list: &str| Tree::small(&[(CLAIMS, DOC), ("tests/t.rs", CODE), (LIST, list), CATALOG]);
    let right = list(&tree(""));
    let rows: Vec<&str> = right.lines().skip(6).collect();
    assert_eq!(
        rows,
        [
            "| LEASE-1 | `there` | [tests/t.rs](../tests/t.rs) |",
            "| LEASE-1 | `there_too` | [tests/t.rs](../tests/t.rs) |",
            "| LEASE-2 | `mutex` | [jepsen/src/workload/catalog.rs](../jepsen/src/workload/catalog.rs) |",
            "| FENCE-1 | `there` | [tests/t.rs](../tests/t.rs) |",
        ]
    );
    assert_eq!(told(&list_findings(&tree(&right))), [""; 0]);
    for (list, line) in [
        (right.replace("`there_too`", "`gone`"), 8),
        (
            right.replace("| LEASE-2 | `mutex`", "| LEASE-3 | `mutex`"),
            9,
        ),
        (format!("{right}| FENCE-2 |\n"), 11),
        (String::new(), 1),
    ] {
        let found = list_findings(&tree(&list));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), (LIST, line));
        assert!(found[0].rule.contains(WRITE), "{}", found[0].rule);
    }
}
