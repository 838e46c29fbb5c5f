//! Dependencies between our crates, and the crates that only one of ours may know.
//!
//! The compiler holds what a manifest says; this holds what a manifest may say.

use crate::tree::{Finding, Tree};

/// A crate of ours, and which others of ours its product may depend on.
const KNOWS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("keyring", &[]),
    ("log", &["clock"]),
    ("planted", &[]),
    ("proto", &[]),
    ("rfh2", &[]),
    ("types", &["clock"]),
    ("tls", &["clock", "log"]),
    ("platform", &["clock", "types"]),
    ("resources", &["proto"]),
    ("state", &["planted", "proto", "resources", "types"]),
    (
        "ipc",
        &["clock", "planted", "platform", "proto", "resources"],
    ),
    (
        "connector",
        &[
            "clock",
            "ipc",
            "log",
            "planted",
            "platform",
            "proto",
            "resources",
            "rfh2",
            "types",
        ],
    ),
    (
        "service",
        &[
            "clock",
            "log",
            "planted",
            "platform",
            "proto",
            "resources",
            "state",
            "tls",
            "types",
        ],
    ),
    (
        "supervisor",
        &[
            "clock",
            "ipc",
            "log",
            "planted",
            "platform",
            "proto",
            "resources",
            "service",
            "state",
            "types",
        ],
    ),
    (
        "vault",
        &["keyring", "platform", "resources", "state", "types"],
    ),
    (
        "raft",
        &[
            "clock", "log", "planted", "platform", "proto", "tls", "types",
        ],
    ),
    // The chaos suite knows the product as a program alone.
    ("jepsen", &["clock", "testkit"]),
    ("testkit", &["clock"]),
    (
        "simulated-group",
        &[
            "clock",
            "ipc",
            "resources",
            "service",
            "state",
            "supervisor",
            "testkit",
            "types",
        ],
    ),
    ("mq-stand-in", &[]),
    ("house", &[]),
];

/// What the product of a crate may not depend on at all, and why.
const NEVER: &[(&str, &[&str], &str)] = &[(
    "state",
    &["tokio", "rand", "nix", "quorate-clock", "futures-util"],
    "the state has no I/O, no clock, no runtime and no chance in it, or members would differ",
)];

/// What only these of our crates may depend on, and why. Programs for tests may as well.
const SOLE: &[(&str, &[&str], &str)] = &[
    (
        "openraft",
        &["raft"],
        "consensus can be exchanged or patched only where a single crate knows it",
    ),
    (
        "rocksdb",
        &["raft"],
        "the disk format belongs to the crate that promises durability",
    ),
    (
        "lapin",
        &["connector", "jepsen", "testkit"],
        "the broker is spoken to by connector processes alone, so that a fence can hold them",
    ),
    (
        "zmq",
        &["connector", "jepsen"],
        "sockets are held by connector processes alone, so that a fence can hold them",
    ),
    (
        "libmqm-sys",
        &["connector", "mq-stand-in"],
        "the queue manager is spoken to by connector processes alone, so that a fence can hold them",
    ),
];

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, manifest) in tree.texts.iter().filter(|(path, _)| is_manifest(path)) {
        let name = package(manifest);
        let mut say = |line: usize, rule: String, reason| {
            findings.push(Finding {
                path: path.clone(),
                line,
                rule,
                reason,
            });
        };
        // The root knows all; what is outside of the workspace is no part of the product.
        let knows = KNOWS.iter().find(|(it, _)| *it == name);
        if name != "quorate" && knows.is_none() && !path.contains("/fuzz/") {
            let rule = format!("{name} has no line in tests/tidy/manifests.rs");
            say(
                1,
                rule,
                "what a crate may know is decided before it is made",
            );
        }
        for (line, dependency) in dependencies(manifest) {
            let ours = dependency.strip_prefix("quorate-");
            if let (Some(ours), Some((_, allowed))) = (ours, knows)
                && !allowed.contains(&ours)
            {
                let rule = format!("{name} depends on {dependency}");
                say(
                    line,
                    rule,
                    "dependencies point one way, and each is decided",
                );
            }
            for (_, never, reason) in NEVER.iter().filter(|(it, ..)| *it == name) {
                if never.contains(&dependency) {
                    say(line, format!("{name} depends on {dependency}"), reason);
                }
            }
            for (_, users, reason) in SOLE.iter().filter(|(it, ..)| *it == dependency) {
                if !users.contains(&name) {
                    let rule = format!("{name} depends on {dependency}, as only {users:?} may");
                    say(line, rule, reason);
                }
            }
        }
    }
    findings
}

fn is_manifest(path: &str) -> bool {
    path == "Cargo.toml" || path.ends_with("/Cargo.toml")
}

/// The name of a package, without what all of ours begin with.
fn package(manifest: &str) -> &str {
    let section = manifest.split("[package]").nth(1).unwrap_or_default();
    let line = section.lines().find_map(|it| it.strip_prefix("name = \""));
    let name = line.unwrap_or_default().trim_end_matches('"');
    name.strip_prefix("quorate-").unwrap_or(name)
}

/// The lines of `[dependencies]` with what they name.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut within = false;
    manifest.lines().enumerate().filter_map(move |(n, line)| {
        if line.starts_with('[') {
            within = line == "[dependencies]";
            return None;
        }
        let name = line.split(['.', ' ', '=']).next()?;
        (within && !name.is_empty() && !name.starts_with('#')).then_some((n + 1, name))
    })
}

#[test]
fn dependencies_against_the_rules_are_found() {
    let of = |name: &str, dependencies: &str| {
        format!(
            "[package]\nname = \"quorate-{name}\"\n[dependencies]\n{dependencies}\n\
             [dev-dependencies]\nlapin = \"4\"\n"
        )
    };
    let state = of(
        "state",
        "tokio.workspace = true\nquorate-raft.workspace = true",
    );
    let raft = of("raft", "openraft = \"1\"\nquorate-types.workspace = true");
    let service = of("service", "lapin.workspace = true");
    let stranger = of("stranger", "");
    let found: Vec<String> = findings(&Tree::small(&[
        ("raft/Cargo.toml", &raft),
        ("crates/service/Cargo.toml", &service),
        ("crates/state/Cargo.toml", &state),
        ("crates/stranger/Cargo.toml", &stranger),
    ]))
    .iter()
    .map(|it| format!("{}:{} {}", it.path, it.line, it.rule))
    .collect();
    assert_eq!(
        found,
        [
            "crates/service/Cargo.toml:4 service depends on lapin, as only [\"connector\", \"jepsen\", \"testkit\"] may",
            "crates/state/Cargo.toml:4 state depends on tokio",
            "crates/state/Cargo.toml:5 state depends on quorate-raft",
            "crates/stranger/Cargo.toml:1 stranger has no line in tests/tidy/manifests.rs",
        ]
    );
}
