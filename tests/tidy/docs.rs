//! Links and paths in the documentation: each leads to a file that is there.

use crate::{
    modules::normal,
    tree::{Finding, Tree},
};

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, named) in paths(text) {
            if !is_there(tree, &named) {
                let reason = "a path that was true once sends the reader away";
                findings.push(Finding {
                    path: path.clone(),
                    line,
                    rule: format!("there is no file {named:?}"),
                    reason,
                });
            }
        }
        for (line, target) in links(text) {
            if let Some(rule) = broken(tree, path, &target) {
                let reason = "a link that leads nowhere wastes the reader's trust";
                findings.push(Finding {
                    path: path.clone(),
                    line,
                    rule,
                    reason,
                });
            }
        }
    }
    findings
}

/// The targets of `[text](target)`, outside of code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (n, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // What stands between backquotes is code.
        let prose: String = line.split('`').step_by(2).collect();
        for (at, _) in prose.match_indices("](") {
            if let Some(end) = prose[at + 2..].find(')') {
                found.push((n + 1, prose[at + 2..at + 2 + end].to_owned()));
            }
        }
    }
    found
}

/// The top folders of the repository whose files are named by path.
const TOP: [&str; 9] = [
    "src", "raft", "proto", "jepsen", "crates", "tests", "docs", "examples", "scripts",
];

/// Paths from the root of the repository between backquotes, as in `src/lib.rs`.
fn paths(text: &str) -> Vec<(usize, String)> {
    let in_line = |(n, line): (usize, &str)| {
        let code = line.split('`').skip(1).step_by(2);
        let named = code.filter(|it| {
            let plain = |c: char| c.is_alphanumeric() || "_-./".contains(c);
            let top = it
                .split_once('/')
                .is_some_and(|(top, _)| TOP.contains(&top));
            top && it.chars().all(plain)
        });
        named.map(|it| (n + 1, it.to_owned())).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(in_line).collect()
}

/// Whether a file or folder is there; some files are there whose text isn't looked at.
fn is_there(tree: &Tree, path: &str) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    tree.file(path).is_some()
        || tree.texts.keys().any(|known| known.starts_with(&folder))
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(path)
            .exists()
}

fn broken(tree: &Tree, from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = if file.is_empty() {
        from.to_owned()
    } else {
        normal(&format!("{folder}/{file}"))
    };
    let Some(text) = tree.file(&path) else {
        return (!is_there(tree, &path)).then(|| format!("the link {target:?} leads to no file"));
    };
    let headings = text.lines().filter(|line| line.starts_with('#')).map(slug);
    let there = heading.is_empty() || headings.into_iter().any(|slug| slug == heading);
    (!there).then(|| format!("the link {target:?} leads to no heading"))
}

/// A heading's name in a link.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn broken_links_are_found() {
    let tree = Tree::small(&[
        (
            "README.md",
            "# A\n[ok](docs/b.md#what-it-is) [no](docs/c.md) [no](docs/b.md#nope)\n`[code](x)`\n```\n[code](y)\n```\n[web](https://x.org/y)\n",
        ),
        (
            "docs/b.md",
            "## What it is?\n[up](../README.md#a) [no](../README.md#b)\n`docs/b.md` and `docs`, `src/gone.rs`\n",
        ),
    ]);
    let found: Vec<String> = findings(&tree)
        .iter()
        .map(|f| format!("{}:{} {}", f.path, f.line, f.rule))
        .collect();
    assert_eq!(
        found,
        [
            "README.md:2 the link \"docs/c.md\" leads to no file",
            "README.md:2 the link \"docs/b.md#nope\" leads to no heading",
            "docs/b.md:3 there is no file \"src/gone.rs\"",
            "docs/b.md:2 the link \"../README.md#b\" leads to no heading",
        ]
    );
}
