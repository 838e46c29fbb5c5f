//! Holds the house rules: who may import whom, words that don't belong in the code, the
//! size of files, files that nothing reaches, links in the documentation, the claims that
//! tests hold and the list of them, and dependencies.
//!
//! Each rule is a function from the tree of files to findings, tried on small trees of its
//! own beside it. The checks are simple and by line; where one is wrong about a line, the
//! line is usually better written another way.

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/guarantees.rs"]
mod guarantees;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use std::sync::LazyLock;

use tree::{Finding, Tree};

static REPOSITORY: LazyLock<Tree> = LazyLock::new(Tree::of_the_repository);

fn hold(rule: impl Fn(&Tree) -> Vec<Finding>) {
    let findings = rule(&REPOSITORY);
    let told: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(told.is_empty(), "\n{}\n", told.join("\n"));
}

#[test]
fn the_tree_is_seen() {
    for path in [
        "src/lib.rs",
        "src/main.rs",
        "raft/src/lib.rs",
        "tests/tidy.rs",
        "README.md",
    ] {
        assert!(
            REPOSITORY.file(path).is_some(),
            "{path} is not among the files that are looked at"
        );
    }
}

#[test]
fn imports_run_one_way() {
    hold(imports::findings);
}

#[test]
fn crates_depend_only_on_allowed_ones() {
    hold(manifests::findings);
}

#[test]
fn no_word_that_does_not_belong() {
    hold(words::findings);
}

#[test]
fn files_are_short() {
    hold(sizes::findings);
}

#[test]
fn every_file_is_reached_and_documented() {
    hold(modules::findings);
}

#[test]
fn links_lead_somewhere() {
    hold(docs::findings);
}

#[test]
fn no_dependency_is_denied() {
    hold(dependencies::findings);
}

#[test]
fn claims_are_held_by_tests() {
    hold(guarantees::findings);
}

/// Writes the list instead where the environment says so.
#[test]
fn tests_by_claim_list_matches_code() {
    if std::env::var_os(guarantees::WRITE).is_some() {
        let path = tree::root().join(guarantees::LIST);
        std::fs::write(path, guarantees::list(&REPOSITORY)).expect("the list can be written");
    } else {
        hold(guarantees::list_findings);
    }
}
