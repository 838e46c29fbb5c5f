//! Which files the crates are made of: every file is reached by a `mod`, and begins by
//! saying what it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    source::Source,
    tree::{Finding, Tree},
};

/// A `mod name;` in a file.
struct Declaration {
    name: String,
    path: Option<String>,
    test: bool,
}

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let reached = reached(tree);
    let mut findings = Vec::new();
    for (path, source) in tree.sources() {
        let mut say = |rule: &str, reason| {
            findings.push(Finding {
                path: path.to_owned(),
                line: 1,
                rule: rule.to_owned(),
                reason,
            });
        };
        if !reached.contains_key(path) {
            say(
                "no `mod` leads to this file",
                "what isn't compiled isn't checked, and misleads its reader",
            );
        }
        // Tests beside the code are named after it by their place.
        let beside = path.ends_with("/tests.rs") || path.ends_with("/tests/mod.rs");
        let first = source.raw.first().map_or("", String::as_str);
        if !beside && !first.starts_with("//! ") {
            say(
                "the file doesn't begin with a `//!` line",
                "whoever opens a file is told first what it is for",
            );
        }
    }
    findings
}

/// The files that a crate's root reaches, and whether as test code only.
pub fn reached(tree: &Tree) -> BTreeMap<String, bool> {
    let mut reached = BTreeMap::new();
    let roots = tree
        .sources()
        .map(|(path, _)| path)
        .filter(|path| is_root(path));
    let mut open: Vec<(String, bool)> =
        roots.map(|path| (path.to_owned(), is_test(path))).collect();
    while let Some((path, test)) = open.pop() {
        if reached.get(&path).is_some_and(|known| !known || test) {
            continue;
        }
        reached.insert(path.clone(), test);
        let Some(source) = tree.source(&path) else {
            continue;
        };
        for declaration in declarations(source) {
            let test = test || declaration.test;
            open.extend(
                candidates(&path, &declaration)
                    .into_iter()
                    // What the chaos suite shares with the tests stays test code.
                    .map(|file| {
                        let test = test || is_test(&file);
                        (file, test)
                    }),
            );
        }
    }
    let files: BTreeSet<&str> = tree.sources().map(|(path, _)| path).collect();
    reached.retain(|path, _| files.contains(path.as_str()));
    reached
}

/// Whether cargo starts with this file.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    // The root package has its folders at the top, a member as deep as it stands.
    let starts = ["src", "tests", "examples", "benches", "fuzz", "build.rs"];
    let Some(start) = parts.iter().position(|part| starts.contains(part)) else {
        return false;
    };
    let inside = &parts[start..];
    matches!(
        inside,
        ["src", "lib.rs" | "main.rs"]
            | ["build.rs"]
            | ["src", "bin", ..]
            | ["tests" | "examples" | "benches", _]
            | ["tests" | "examples" | "benches", _, "main.rs"]
            | ["fuzz", "fuzz_targets", _]
    )
}

fn is_test(path: &str) -> bool {
    ["/tests/", "/fuzz/"]
        .iter()
        .any(|folder| path.contains(folder))
        || path.starts_with("tests/")
        || path.starts_with("crates/testing/")
}

fn declarations(source: &Source) -> Vec<Declaration> {
    let mut found = Vec::new();
    let (mut path, mut cfg_test) = (None, false);
    for (n, line) in source.code.iter().enumerate() {
        let line = line.trim();
        if line.starts_with("#[path") {
            path = source.raw[n].split('"').nth(1).map(str::to_owned);
            continue;
        }
        if line.starts_with("#[cfg(test)]") {
            cfg_test = true;
        }
        let item = line.rsplit("] ").next().unwrap_or(line);
        let words: Vec<&str> = item.split_whitespace().collect();
        let name = match words.as_slice() {
            ["mod", name] | [_, "mod", name] | [_, _, "mod", name] => name.strip_suffix(';'),
            _ => None,
        };
        if let Some(name) = name {
            let test = cfg_test || source.test[n];
            found.push(Declaration {
                name: name.to_owned(),
                path: path.take(),
                test,
            });
        }
        if !line.is_empty() && !line.starts_with("#[") {
            (path, cfg_test) = (None, false);
        }
    }
    found
}

/// Where a declared module may be.
fn candidates(path: &str, declaration: &Declaration) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(elsewhere) = &declaration.path {
        return vec![normal(&format!("{folder}/{elsewhere}"))];
    }
    let stem = file.trim_end_matches(".rs");
    let home = if file == "mod.rs" || is_root(path) {
        folder.to_owned()
    } else {
        format!("{folder}/{stem}")
    };
    let name = &declaration.name;
    vec![format!("{home}/{name}.rs"), format!("{home}/{name}/mod.rs")]
}

/// A path without `..`.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn dead_and_silent_files_are_found() {
    let tree = Tree::small(&[
        (
            "src/lib.rs",
            "//! A crate.\npub mod a;\n#[cfg(test)]\nmod tests;\n",
        ),
        ("src/a.rs", "//! A.\nmod b;\n"),
        ("src/a/b.rs", "//! B.\n"),
        ("src/tests.rs", "//! Tests.\nmod deep;\n"),
        ("src/tests/deep.rs", "//! Deep.\n"),
        ("src/dead.rs", "//! Dead.\n"),
        ("raft/src/lib.rs", "fn silent() {}\n"),
        ("crates/testing/kit/src/lib.rs", "//! Kit.\n"),
        (
            "tests/it/main.rs",
            "//! It.\n#[path = \"../support/x.rs\"]\nmod x;\n",
        ),
        ("tests/support/x.rs", "//! X.\n"),
    ]);
    let found: Vec<String> = findings(&tree)
        .iter()
        .map(|f| format!("{} {}", f.path, f.rule))
        .collect();
    assert_eq!(
        found,
        [
            "raft/src/lib.rs the file doesn't begin with a `//!` line",
            "src/dead.rs no `mod` leads to this file",
        ]
    );
    let reached = reached(&tree);
    assert!(
        !reached["src/a/b.rs"] && reached["src/tests/deep.rs"] && reached["tests/support/x.rs"]
    );
}
