//! What `deny.toml` says of crates and their sources, as far as `Cargo.lock` tells: without a
//! tool that has to be installed, and without a network. Advisories and licences are asked of
//! `make deny`.

use crate::tree::{Finding, Tree};

const LOCK: &str = "Cargo.lock";
const RULES: &str = "deny.toml";

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let rules = tree.file(RULES).unwrap_or_default();
    // Those with `wrappers` may be there, for the crates that are named.
    let denied: Vec<&str> = rules
        .lines()
        .filter(|line| !line.contains("wrappers"))
        .filter_map(|line| {
            line.trim_start()
                .strip_prefix("{ crate = \"")?
                .split('"')
                .next()
        })
        .collect();
    let registry = rules
        .lines()
        .find_map(|line| line.strip_prefix("allow-registry = [\"")?.split('"').next());
    let mut findings = Vec::new();
    let mut say = |line: usize, rule: String, reason| {
        findings.push(Finding {
            path: LOCK.to_owned(),
            line: line + 1,
            rule,
            reason,
        });
    };
    let (Some(registry), false) = (registry, denied.is_empty()) else {
        say(
            0,
            format!("{RULES} denies nothing"),
            "a rule that isn't read holds nothing",
        );
        return findings;
    };
    for (n, line) in tree.file(LOCK).unwrap_or_default().lines().enumerate() {
        let value = |key: &str| line.strip_prefix(key)?.strip_suffix('"');
        if let Some(name) = value("name = \"").filter(|name| denied.contains(name)) {
            let reason = "deny.toml says why it may not be among the dependencies";
            say(n, format!("{name} is among the dependencies"), reason);
        }
        let source = value("source = \"");
        if source.is_some_and(|it| it != format!("registry+{registry}")) {
            let reason = "what comes from one registry is checked and kept by it";
            say(n, format!("{line} is another source"), reason);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &str = "deny = [\n    { crate = \"bad\" },\n    \
                        { crate = \"kept\", wrappers = [\"one\"] },\n]\n\
                        allow-registry = [\"https://registry.example\"]\n";

    #[test]
    fn a_denied_crate_and_another_source_are_found() {
        let lock = "name = \"good\"\nsource = \"registry+https://registry.example\"\n\
                    name = \"kept\"\nname = \"bad\"\nsource = \"git+https://elsewhere.example\"\n";
        let found = findings(&Tree::small(&[(RULES, SOME), (LOCK, lock)]));
        let lines: Vec<usize> = found.iter().map(|it| it.line).collect();
        assert_eq!(lines, [4, 5]);
        assert_eq!(findings(&Tree::small(&[(LOCK, lock)])).len(), 1);
    }
}
