//! Imports between the parts of the root crate. What the other crates may know stands in
//! their manifests (`manifests.rs`).

use crate::{
    modules::reached,
    tree::{Finding, Tree},
};

/// A part of the root crate and the parts that it never names.
const NEVER: &[(&[&str], &[&str], &str)] = &[
    (
        &["balancer"],
        &["*"],
        "the balancer speaks REST with the members, as any client does",
    ),
    (
        &["replica", "cluster", "manifest"],
        &["admin", "cli", "server", "balancer", "settings"],
        "what replicates must not know the faces that command it",
    ),
    (
        &["admin"],
        &["cli", "server", "balancer"],
        "the REST face must not know who builds it or who calls it",
    ),
    (
        &["settings"],
        &["admin", "cli", "server", "cluster", "replica"],
        "settings are values; who reads them is not theirs to know",
    ),
    (
        &["cli"],
        &["cluster", "replica"],
        "a command speaks REST with a member; it has no member inside",
    ),
];

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, test) in reached(tree) {
        let source = tree
            .source(&path)
            .expect("a file that was reached is there");
        let me = module(&path);
        let Some(me) = me.filter(|_| !test) else {
            continue;
        };
        for (line, other) in others(source.product(), &me) {
            for (parts, never, reason) in NEVER {
                let Some(part) = parts.iter().find(|part| within(&me, part)) else {
                    continue;
                };
                if !within(&other, part) && never.iter().any(|n| *n == "*" || within(&other, n)) {
                    let (path, rule) = (path.clone(), format!("`{part}` names `{other}`"));
                    findings.push(Finding {
                        path,
                        line,
                        rule,
                        reason,
                    });
                }
            }
        }
    }
    findings
}

/// The module of a file of the root crate's library, as in `admin::config::batch`.
fn module(path: &str) -> Option<String> {
    let inside = path.strip_prefix("src/")?.trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    (!matches!(inside, "lib" | "main")).then(|| inside.replace('/', "::"))
}

fn within(module: &str, part: &str) -> bool {
    module
        .strip_prefix(part)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The modules of the root crate that are named, by `crate::` and by `super::`, and where.
fn others<'a>(lines: impl Iterator<Item = (usize, &'a str)>, me: &str) -> Vec<(usize, String)> {
    let mut text = String::new();
    let mut starts = Vec::new();
    for (line, code) in lines {
        starts.push((text.len(), line));
        text.push_str(code);
        text.push('\n');
    }
    let line_at = |at: usize| {
        starts
            .iter()
            .take_while(|(start, _)| *start <= at)
            .last()
            .map_or(1, |(_, n)| *n)
    };
    let depth = me.split("::").count();
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        if whole(&text, at) {
            found.extend(
                expand(&text[at + 7..])
                    .into_iter()
                    .map(|name| (line_at(at), name)),
            );
        }
    }
    for (at, _) in text.match_indices("super::") {
        let chained = text[..at].ends_with("super::");
        let mut rest = &text[at..];
        let mut up = 0;
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, up) = (further, up + 1);
        }
        if chained || !whole(&text, at) || up > depth {
            continue;
        }
        let base: Vec<&str> = me.split("::").take(depth - up).collect();
        for name in expand(rest) {
            let full = base
                .iter()
                .copied()
                .chain([name.as_str()])
                .collect::<Vec<_>>()
                .join("::");
            found.push((line_at(at), full));
        }
    }
    found
}

/// Whether an identifier begins here, and a path with it.
fn whole(text: &str, at: usize) -> bool {
    !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$')
}

/// The paths that a use tree begins with: `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn expand(text: &str) -> Vec<String> {
    let name_ends = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(name_ends);
    if name.is_empty() {
        return group(text);
    }
    match rest.strip_prefix("::") {
        Some(further) => {
            let tails = expand(further);
            if tails.is_empty() {
                return vec![name.to_owned()];
            }
            tails
                .into_iter()
                .map(|tail| format!("{name}::{tail}"))
                .collect()
        }
        None => vec![name.to_owned()],
    }
}

/// The members of `{...}` at the beginning of the text.
fn group(text: &str) -> Vec<String> {
    let Some(text) = text.trim_start().strip_prefix('{') else {
        return Vec::new();
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                found.extend(expand(text[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn imports_against_the_rules_are_found() {
    let tree = Tree::small(&[
        (
            "src/lib.rs",
            "//! L.\nmod settings;\nmod replica;\nmod admin;\nmod server;\n",
        ),
        (
            "src/settings.rs",
            "//! S.\nmod layers;\nuse serde::Serialize;\n",
        ),
        (
            "src/settings/layers.rs",
            "//! K.\nuse super::reader;\nfn f() { crate::cluster::g(); }\n#[cfg(test)]\nmod tests { use crate::cli; }\n",
        ),
        (
            "src/replica.rs",
            "//! H.\nuse crate::{\n    cluster::{Cluster, api},\n    admin::problem,\n};\n",
        ),
        ("src/admin.rs", "//! A.\npub mod kv;\nuse super::cli;\n"),
        (
            "src/admin/kv.rs",
            "//! C.\nuse super::problem;\nuse quorate_proto::connector;\n",
        ),
        ("src/server.rs", "//! R.\nuse crate::{admin, replica};\n"),
    ]);
    let found: Vec<String> = findings(&tree)
        .iter()
        .map(|f| format!("{}:{} {}", f.path, f.line, f.rule))
        .collect();
    assert_eq!(
        found,
        [
            "src/admin.rs:3 `admin` names `cli`",
            "src/replica.rs:2 `replica` names `admin::problem`",
            "src/settings/layers.rs:3 `settings` names `cluster::g`",
        ]
    );
}
