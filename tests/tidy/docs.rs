//! Links in the documentation lead to a file that is there, and to a heading in it.

use crate::{
    modules::normal,
    tree::{Finding, Tree},
};

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
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
    let prefix = format!("{path}/");
    let Some(text) = tree.file(&path) else {
        // Folders, and files whose text isn't looked at.
        let there = tree.texts.keys().any(|known| known.starts_with(&prefix))
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(&path)
                .exists();
        return (!there).then(|| format!("the link {target:?} leads to no file"));
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
            "## What it is?\n[up](../README.md#a) [no](../README.md#b)\n",
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
            "docs/b.md:2 the link \"../README.md#b\" leads to no heading",
        ]
    );
}
