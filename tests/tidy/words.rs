//! Words that don't belong: in product code, in any code, in any file.

use crate::{
    modules::reached,
    tree::{Finding, Tree},
};

/// Not in code that isn't a test.
const NOT_IN_PRODUCT: &[(&str, &str)] = &[
    ("dbg!", "it is for a moment at one's own desk"),
    (
        "todo!",
        "what isn't there is absent, and doesn't fail when it is met",
    ),
    (
        "unimplemented!",
        "what isn't there is absent, and doesn't fail when it is met",
    ),
    (
        ".unwrap()",
        "a member doesn't die of what may happen; say why it can't with `.expect(\"invariant: ...\")`",
    ),
    (
        "mpsc::channel()",
        "every queue is bounded: a slow reader must be felt by the writer, not by the memory",
    ),
    (".unwrap_err()", "a member doesn't die of what may happen"),
];

/// Not where time must be the same for everybody, or run evenly.
const WALL_CLOCKS: &[&str] = &["SystemTime", "wall_time"];
const NO_WALL_CLOCK: &[&str] = &[
    "raft/src/",
    "crates/resources/src/",
    "crates/state/src/",
    "crates/ipc/src/lease",
    "src/replica.rs",
];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &[
    "crates/ipc/src/lease/page.rs",
    "src/balancer/haproxy_process.rs",
    "crates/connector/src/ibm_mq/library.rs",
    "crates/connector/src/ibm_mq/mqi_connection.rs",
    "crates/testing/mq-stand-in/src/abi.rs",
];

/// In no file at all. Put together here so that this file is clean.
const NOWHERE: &[(&str, &str)] = &[
    (
        concat!("FIX", "ME"),
        "what is to be done is done, or told to the others",
    ),
    (
        concat!("XX", "X"),
        "what is to be done is done, or told to the others",
    ),
    (
        concat!("/ro", "ot/"),
        "a path of one machine means nothing on another",
    ),
    (
        concat!("/ho", "me/"),
        "a path of one machine means nothing on another",
    ),
    (
        concat!("/Us", "ers/"),
        "a path of one machine means nothing on another",
    ),
    (
        concat!("/wo", "rk/"),
        "a path of one machine means nothing on another",
    ),
];

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.texts {
        for (n, line) in text.lines().enumerate() {
            for (word, reason) in NOWHERE.iter().filter(|(word, _)| alone(line, word)) {
                findings.push(finding(path, n + 1, format!("`{word}`"), reason));
            }
        }
    }
    for (path, test) in reached(tree) {
        let source = tree
            .source(&path)
            .expect("a file that was reached is there");
        for (line, code) in source.product() {
            if code.contains("unsafe_code)]")
                && code.contains("allow")
                && !UNSAFE.contains(&path.as_str())
            {
                let reason =
                    "unsafe code stands in as few places as can be, each with its argument";
                findings.push(finding(
                    &path,
                    line,
                    "`unsafe` is allowed here".to_owned(),
                    reason,
                ));
            }
            if test {
                continue;
            }
            for (word, reason) in NOT_IN_PRODUCT.iter().filter(|(word, _)| alone(code, word)) {
                findings.push(finding(
                    &path,
                    line,
                    format!("`{word}` outside of tests"),
                    reason,
                ));
            }
            let even = NO_WALL_CLOCK.iter().any(|part| path.starts_with(part));
            // A bug that is planted there may.
            let even = even && !path.ends_with("/planted.rs");
            for word in WALL_CLOCKS.iter().filter(|word| even && alone(code, word)) {
                let reason = "wall clocks jump and differ; leases and the log don't read them";
                findings.push(finding(&path, line, format!("`{word}`"), reason));
            }
            for (at, _) in code.match_indices(".expect(") {
                if !invariant(&source.raw, line - 1, at + ".expect(".len()) {
                    let rule = "`.expect(` outside of tests that names no invariant".to_owned();
                    let reason = "who panics says what can't be: `.expect(\"invariant: ...\")`";
                    findings.push(finding(&path, line, rule, reason));
                }
            }
        }
    }
    findings
}

fn finding(path: &str, line: usize, rule: String, reason: &'static str) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        rule,
        reason,
    }
}

/// Whether the word stands in the line, and not as a part of a longer one.
fn alone(line: &str, word: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = word.starts_with(letter) && line[..at].ends_with(letter);
        let after = word.ends_with(letter) && line[at + word.len()..].starts_with(letter);
        !before && !after
    })
}

/// Whether what is expected begins with `"invariant: `, on this line or the next.
fn invariant(raw: &[String], line: usize, column: usize) -> bool {
    let here = raw[line].get(column..).unwrap_or_default().trim();
    let text = if here.is_empty() {
        raw.get(line + 1).map_or("", |next| next.trim())
    } else {
        here
    };
    text.starts_with("\"invariant: ")
}

#[test]
fn words_that_do_not_belong_are_found() {
    let bad = "//! L.\nfn f() {\n  a.unwrap();\n  b.expect(\"why not\");\n  c.expect(\n    \"invariant: it is\");\n  todo!();\n  \"x.unwrap()\";\n}\n#[cfg(test)]\nmod tests {\n  fn t() { a.unwrap() }\n}\n";
    let fixme = concat!("//! T.\n// FIX", "ME later\nfn t() { a.unwrap(); }\n");
    let home = concat!("See /ho", "me/me/notes, and FIX", "MEs.\n");
    let tree = Tree::small(&[
        ("src/lib.rs", bad),
        ("tests/t.rs", fixme),
        ("docs/a.md", home),
        (
            "raft/src/lib.rs",
            "//! R.\n#![allow(unsafe_code)]\nuse std::time::SystemTime;\nuse quorate_clock::wall_time;\nmod planted;\n",
        ),
        (
            "raft/src/planted.rs",
            "//! P.\nuse quorate_clock::wall_time;\n",
        ),
    ]);
    let found: Vec<String> = findings(&tree)
        .iter()
        .map(|f| format!("{}:{} {}", f.path, f.line, f.rule))
        .collect();
    assert_eq!(
        found,
        [
            concat!("docs/a.md:1 `/ho", "me/`"),
            concat!("tests/t.rs:2 `FIX", "ME`"),
            "raft/src/lib.rs:2 `unsafe` is allowed here",
            "raft/src/lib.rs:3 `SystemTime`",
            "raft/src/lib.rs:4 `wall_time`",
            "src/lib.rs:3 `.unwrap()` outside of tests",
            "src/lib.rs:4 `.expect(` outside of tests that names no invariant",
            "src/lib.rs:7 `todo!` outside of tests",
        ]
    );
}
