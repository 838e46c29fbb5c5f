//! Who may import whom. Only `server` knows everyone; what lies deep knows little.

use crate::{
    modules::reached,
    tree::{Finding, Tree},
};

/// A part of the root crate and the parts that it never names.
const NEVER: &[(&[&str], &[&str], &str)] = &[
    (
        &["state"],
        &["*"],
        "the state is a pure machine that is the same on every member",
    ),
    (
        &["connector::child"],
        &["*"],
        "a connector's process shares nothing with its parent but frames and the lease's page",
    ),
    (
        &["balancer"],
        &["*"],
        "the balancer speaks REST with the members, as any client does",
    ),
    (
        &[
            "http",
            "service",
            "connector",
            "replica",
            "cluster",
            "manifest",
        ],
        &["admin", "cli", "server", "balancer", "settings"],
        "what serves and what replicates must not know the faces that command it",
    ),
    (
        &["admin"],
        &["cli", "server", "balancer"],
        "the REST face must not know who builds it or who calls it",
    ),
    (
        &["settings"],
        &[
            "admin",
            "cli",
            "server",
            "http",
            "service",
            "connector",
            "cluster",
            "replica",
        ],
        "settings are values; who reads them is not theirs to know",
    ),
    (
        &["cli"],
        &["http", "service", "cluster", "replica"],
        "a command speaks REST with a member; it has no member inside",
    ),
];

/// What may be named all the same.
const EXCEPT: &[(&str, &str)] = &[("connector::child", "connector::lease")];

/// What a part may name of others' crates, where not everything.
const ONLY: &[(&str, &[&str], &str)] = &[(
    "src/state/",
    &[
        "bytes",
        "http",
        "imbl",
        "matchit",
        "prost",
        "quorate_planted",
        "quorate_proto",
        "serde",
        "serde_json",
        "thiserror",
        "url",
    ],
    "the state has no I/O, no clock, no runtime and no chance in it, or members would differ",
)];

/// What only one part may name.
const SOLE: &[(&str, &[&str], &str)] = &[
    (
        "openraft",
        &["raft/"],
        "consensus can be exchanged or patched only where a single crate knows it",
    ),
    (
        "rocksdb",
        &["raft/"],
        "the disk format belongs to the crate that promises durability",
    ),
    (
        "lapin",
        &["src/connector/child/", "tests/", "jepsen/"],
        "the broker is spoken to by connector processes alone, so that a fence can hold them",
    ),
    (
        "zmq",
        &["src/connector/child/", "tests/"],
        "sockets are held by connector processes alone, so that a fence can hold them",
    ),
    (
        "libmqm_sys",
        &["src/connector/child/", "mq-stand-in/"],
        "the queue manager is spoken to by connector processes alone, so that a fence can hold them",
    ),
];

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let crates = crates(tree);
    let mut findings = Vec::new();
    for (path, test) in reached(tree) {
        let source = tree
            .source(&path)
            .expect("a file that was reached is there");
        let me = module(&path);
        for (line, code) in source.product() {
            let mut say = |rule: String, reason| {
                findings.push(Finding {
                    path: path.clone(),
                    line,
                    rule,
                    reason,
                });
            };
            for name in crates.iter().filter(|name| names(code, name)) {
                for (sole, parts, reason) in SOLE {
                    if name == sole && !parts.iter().any(|part| path.starts_with(part)) {
                        say(
                            format!("`{name}` is named outside of {}", parts[0]),
                            *reason,
                        );
                    }
                }
                for (part, allowed, reason) in ONLY {
                    if !test && path.starts_with(part) && !allowed.contains(&name.as_str()) {
                        say(format!("{part} names `{name}`"), *reason);
                    }
                }
            }
        }
        let Some(me) = me.filter(|_| !test) else {
            continue;
        };
        for (line, other) in others(source.product(), &me) {
            for (parts, never, reason) in NEVER {
                let Some(part) = parts.iter().find(|part| within(&me, part)) else {
                    continue;
                };
                let excepted = |(who, what): &(&str, &str)| who == part && within(&other, what);
                let foreign = !within(&other, part) && !EXCEPT.iter().any(excepted);
                if foreign && never.iter().any(|n| *n == "*" || within(&other, n)) {
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

/// The module of a file of the root crate's library, as in `connector::child::amqp`.
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

/// Whether a line names a crate at the beginning of a path.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let after = &code[at + name.len()..];
        whole(code, at)
            && (after.starts_with("::") || code.trim_start().starts_with(&format!("use {name};")))
    })
}

/// The crates that the workspace uses, as code spells them.
fn crates(tree: &Tree) -> Vec<String> {
    let manifest = tree.file("Cargo.toml").unwrap_or_default();
    let section = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines
        .filter_map(|line| line.split_once(" ="))
        .map(|(name, _)| name.trim().replace('-', "_"));
    names.filter(|name| !name.starts_with('#')).collect()
}

#[test]
fn imports_against_the_rules_are_found() {
    let cargo =
        "[workspace.dependencies]\nopenraft = \"1\"\ntokio = \"1\"\nserde = \"1\"\n[package]\n";
    let tree = Tree::small(&[
        ("Cargo.toml", cargo),
        (
            "src/lib.rs",
            "//! L.\nmod state;\nmod http;\nmod connector;\nmod admin;\nmod server;\n",
        ),
        (
            "src/state/mod.rs",
            "//! S.\nmod kv;\nuse serde::Serialize;\n",
        ),
        (
            "src/state/kv.rs",
            "//! K.\nuse super::catalog;\nuse tokio::time;\nfn f() { crate::http::g(); }\n#[cfg(test)]\nmod tests { use tokio::x; use crate::http; }\n",
        ),
        (
            "src/http.rs",
            "//! H.\nuse crate::{\n    service::{Services, api},\n    admin::problem,\n};\n",
        ),
        (
            "src/connector/mod.rs",
            "//! C.\npub mod child;\nuse super::admin;\n",
        ),
        (
            "src/connector/child.rs",
            "//! C.\nuse super::{gateway, lease::View};\nuse quorate_proto::connector;\n",
        ),
        (
            "src/admin.rs",
            "//! A.\nuse openraft::Raft;\nuse crate::http::cid;\n",
        ),
        ("src/server.rs", "//! R.\nuse crate::{admin, http};\n"),
    ]);
    let found: Vec<String> = findings(&tree)
        .iter()
        .map(|f| format!("{}:{} {}", f.path, f.line, f.rule))
        .collect();
    assert_eq!(
        found,
        [
            "src/admin.rs:2 `openraft` is named outside of raft/",
            "src/connector/child.rs:2 `connector::child` names `connector::gateway`",
            "src/connector/mod.rs:3 `connector` names `admin`",
            "src/http.rs:2 `http` names `admin::problem`",
            "src/state/kv.rs:3 src/state/ names `tokio`",
            "src/state/kv.rs:4 `state` names `http::g`",
        ]
    );
}
