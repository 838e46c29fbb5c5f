//! Circles of imports: files of a crate that cannot be understood one after the other.
//!
//! A circle is a strongly connected component of more than one file. Two sets are found. The
//! strict one has every import in it. In the other, imports that lead from a file to a module
//! around it are left out: a child that uses what its parent declares (`super::Context`) is the
//! language's own way of splitting a module, and to forbid it would only move names. That set
//! has the goal; an import from a parent down to its child counts in both.
//!
//! An earlier count by text found 9 circles at `a7d312c`, two of them large. This one finds 12
//! there: the same seven pairs, the same 25 files of `jepsen`, and in raft one around `node.rs`
//! (with `membership.rs`, `network/server.rs` and `storage/log.rs`) in the place of the one by
//! way of `liveness`, which rested on a re-export in `node.rs`. The other three were hidden by
//! re-exports, at which the text's paths ended: 23 files of `state` (`super::FieldError` is
//! declared in `command.rs`, which imports from those that use it), 6 of raft's `storage`
//! (`types.rs` names `super::SnapshotFile`), and `cli/client/{call,problem}`. The strict set has
//! 27 circles there.

use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};
use serde::Serialize;

use crate::{
    culprit::CulpritPlace,
    import_graph::{ImportEdge, ImportGraph},
    module_tree::ModuleTree,
    source_tree::SourceTree,
};

/// Files that import each other, directly or through others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportCircle {
    /// Paths of the files.
    pub files: Vec<String>,
    /// Imports between them.
    pub imports: Vec<CulpritPlace>,
}

/// Circles of every library and program, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportCircles {
    /// Circles without the imports from enclosing modules.
    pub circles: Vec<ImportCircle>,
    /// Circles of all imports.
    pub strict: Vec<ImportCircle>,
}

impl ImportCircles {
    /// Finds the circles of product and of the crates for testing, test code aside.
    pub fn from_tree(tree: &SourceTree) -> ImportCircles {
        let mut found = ImportCircles::default();
        for modules in ModuleTree::all(tree) {
            let graph = ImportGraph::from_modules(&modules);
            found.strict.extend(circles(tree, &graph, |_| true));
            let sideways = circles(tree, &graph, |edge| !edge.to_ancestor);
            found.circles.extend(sideways);
        }
        for circles in [&mut found.circles, &mut found.strict] {
            circles.sort_by_key(|circle| (usize::MAX - circle.files.len(), circle.files.clone()));
        }
        found
    }
}

fn circles(
    tree: &SourceTree,
    graph: &ImportGraph,
    counts: impl Fn(&ImportEdge) -> bool,
) -> Vec<ImportCircle> {
    let counted = graph.edges.iter().filter(|(_, edge)| counts(edge));
    let edges: Vec<((usize, usize), usize)> =
        counted.map(|(files, edge)| (*files, edge.line)).collect();
    let digraph: DiGraphMap<usize, ()> = edges.iter().map(|(files, _)| *files).collect();
    let components = tarjan_scc(&digraph).into_iter();
    components
        .filter(|members| members.len() > 1)
        .map(|members| circle(tree, &edges, members))
        .collect()
}

fn circle(
    tree: &SourceTree,
    edges: &[((usize, usize), usize)],
    mut members: Vec<usize>,
) -> ImportCircle {
    members.sort_unstable();
    let path = |file: usize| tree.files[file].path.clone();
    let inside = edges
        .iter()
        .filter(|((from, to), _)| members.contains(from) && members.contains(to));
    ImportCircle {
        imports: inside
            .map(|((from, to), line)| CulpritPlace {
                path: path(*from),
                line: *line,
                text: format!("imports {}", path(*to)),
            })
            .collect(),
        files: members.iter().map(|file| path(*file)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::measured;

    fn files(circles: &[ImportCircle]) -> Vec<String> {
        circles.iter().map(|it| it.files.join(" ")).collect()
    }

    #[test]
    fn circles_are_found_with_members() {
        let circles = measured(&[
            ("src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\nuse a::x;\n"),
            ("src/a.rs", "use crate::b;\n"),
            ("src/b.rs", "use crate::c;\n"),
            ("src/c.rs", "\nuse crate::a;\nuse crate::d;\n"),
            ("src/d.rs", ""),
            ("jepsen/src/lib.rs", "mod e;\nmod f;\n"),
            ("jepsen/src/e.rs", "use super::f;\n"),
            ("jepsen/src/f.rs", "fn x() { crate::e::y() }\n"),
        ])
        .import_circles;
        let expected = [
            "src/a.rs src/b.rs src/c.rs",
            "jepsen/src/e.rs jepsen/src/f.rs",
        ];
        assert_eq!(files(&circles.circles), expected);
        assert_eq!(circles.circles, circles.strict);
        let import = circles.circles[0].imports[2].to_string();
        assert_eq!(import, "src/c.rs:2: imports src/a.rs");
    }

    #[test]
    fn circle_by_parent_alone_is_strict() {
        let circles = measured(&[
            ("src/lib.rs", "mod a;\n"),
            (
                "src/a.rs",
                "mod b;\nmod c;\nuse b::x;\npub struct Context;\n",
            ),
            ("src/a/b.rs", "use super::{Context, c::y};\n"),
            ("src/a/c.rs", ""),
        ])
        .import_circles;
        assert_eq!(files(&circles.circles), [""; 0]);
        assert_eq!(files(&circles.strict), ["src/a.rs src/a/b.rs"]);
    }

    #[test]
    fn one_way_imports_are_no_circle() {
        let circles = measured(&[
            ("src/lib.rs", "mod a;\nmod b;\npub use a::x;\n"),
            ("src/a.rs", "use crate::b;\n"),
            ("src/b.rs", "#[cfg(test)]\nmod tests { use crate::a; }\n"),
        ])
        .import_circles;
        assert_eq!(circles, ImportCircles::default());
    }
}
