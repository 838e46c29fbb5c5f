//! Edges of small crates.

use super::*;
use crate::{fixture::FixtureTree, source_tree::SourceTree};

/// Edges of the only crate, as `from:line to` without `src/` and `.rs`; ` above` at the end of
/// those to an enclosing module.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let tree = FixtureTree::with_members(files);
    let tree = SourceTree::read(tree.root()).unwrap();
    let modules = ModuleTree::all(&tree);
    assert_eq!(modules.len(), 1);
    let name = |file: &usize| {
        let path = &tree.files[*file].path;
        path.trim_start_matches("src/")
            .trim_end_matches(".rs")
            .to_owned()
    };
    let edges = ImportGraph::from_modules(&modules[0]).edges;
    edges
        .iter()
        .map(|((from, to), edge)| {
            let up = if edge.to_ancestor { " above" } else { "" };
            format!("{}:{} {}{up}", name(from), edge.line, name(to))
        })
        .collect()
}

#[test]
fn every_form_of_path_makes_edge() {
    let found = edges(&[
        (
            "src/lib.rs",
            "mod a;\nmod b;\nmod c;\nmod d;\nmod e;\nmod f;\n",
        ),
        ("src/a.rs", "use std::fmt;\nuse crate::b::Thing;\n"),
        ("src/b.rs", "pub struct Thing;\nfn x() { super::c::y(); }\n"),
        ("src/c.rs", "pub fn y() { vec![crate::d::Z]; }\n"),
        (
            "src/d.rs",
            "mod deep;\npub struct Z;\nfn w() { deep::V::new() }\n",
        ),
        (
            "src/d/deep.rs",
            "use super::super::e;\nfn u() -> e::T { self::t() }\nfn t() {}\n",
        ),
        ("src/e.rs", "fn s() { use crate::f::{R, Q as P}; }\n"),
        ("src/f.rs", "pub struct R;\npub enum Q {}\n"),
    ]);
    let expected = [
        "a:2 b",
        "b:2 c",
        "c:1 d",
        "d:3 d/deep",
        "d/deep:1 e",
        "e:1 f",
    ];
    assert_eq!(found, expected);
}

#[test]
fn reexports_are_followed_and_no_edges() {
    let found = edges(&[
        ("src/lib.rs", "mod a;\nmod b;\nmod g;\n"),
        (
            "src/a.rs",
            "mod deep;\npub use deep::{Thing, Other};\npub use crate::g::*;\n",
        ),
        (
            "src/a/deep.rs",
            "pub enum Thing { One }\npub struct Other;\n",
        ),
        (
            "src/b.rs",
            "use crate::a::{self, Thing};\nfn x() { a::Global; Thing::One; }\n",
        ),
        ("src/g.rs", "pub struct Global;\n"),
    ]);
    assert_eq!(found, ["b:1 a", "b:1 a/deep", "b:2 g"]);
}

#[test]
fn reexport_used_beside_makes_edge() {
    let found = edges(&[
        (
            "src/lib.rs",
            "mod a;\npub use a::Thing;\nfn x() -> Thing { y!(Thing) }\n",
        ),
        ("src/a.rs", "pub struct Thing;\n"),
    ]);
    assert_eq!(found, ["lib:3 a"]);
}

#[test]
fn declarations_and_tests_make_no_edge() {
    let found = edges(&[
        (
            "src/lib.rs",
            "mod a;\npub(in crate::a) mod b;\n#[cfg(test)]\nmod tests { use crate::a::x; }\n",
        ),
        (
            "src/a.rs",
            "#[crate::b::mark]\npub fn x() {}\n#[cfg(test)]\nuse crate::b;\n",
        ),
        (
            "src/b.rs",
            "//! See [`crate::a`].\n#[cfg(test)]\nmod tests;\n",
        ),
        ("src/b/tests.rs", "use crate::a;\n"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn use_resolves_name_shared_by_module_and_item() {
    let found = edges(&[
        ("src/lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("src/a.rs", "pub mod show;\npub fn show() {}\n"),
        ("src/a/show.rs", "pub fn x() {}\n"),
        ("src/b.rs", "use crate::a::show;\nfn y() { show::x(); }\n"),
        (
            "src/c.rs",
            "fn z() { crate::a::show(); crate::exported!(); crate::a::made_up() }\n",
        ),
    ]);
    assert_eq!(found, ["b:1 a", "b:2 a/show", "c:1 a", "c:1 lib above"]);
}

#[test]
fn imports_in_a_ring_end() {
    let found = edges(&[
        ("src/lib.rs", "mod a;\nmod b;\n"),
        ("src/a.rs", "pub use crate::b::*;\npub use crate::b::x;\n"),
        (
            "src/b.rs",
            "pub use crate::a::*;\npub use crate::a::x;\nfn y() { crate::a::z() }\n",
        ),
    ]);
    assert_eq!(found, ["b:3 a"]);
}
