//! Imports between the files of a crate.
//!
//! An edge leads from a file to the file that declares what is named: by a `use`, or by a path
//! in the code or in a macro call that begins with `crate`, `self`, `super`, a child module or
//! an imported name. A name that is reached through a re-export leads to where it is declared,
//! not to the file that re-exports it. A `mod` declaration and a `pub use` are no edges by
//! themselves: both open a way for others and need nothing of what they open. Code beside a
//! `pub use` that makes use of the name is an edge. Edges to the file of an enclosing
//! module are marked, so that circles can be counted without them.

mod module_scope;
mod name_resolver;

use std::collections::BTreeMap;

use crate::{
    import_graph::{module_scope::ModuleScope, name_resolver::NameResolver},
    module_tree::{ModuleIndex, ModuleTree},
};

/// Imports of one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportEdge {
    /// First line that makes the edge.
    pub line: usize,
    /// Whether the imported file holds a module around the importing one.
    pub to_ancestor: bool,
}

/// Edges between files, given as indices into the source tree.
#[derive(Debug, Default)]
pub struct ImportGraph {
    pub edges: BTreeMap<(usize, usize), ImportEdge>,
}

impl ImportGraph {
    /// Resolves the paths of all modules of a library or program.
    pub fn from_modules(tree: &ModuleTree<'_>) -> ImportGraph {
        let scopes: Vec<ModuleScope> = tree
            .modules
            .iter()
            .map(|module| ModuleScope::from_items(module.items))
            .collect();
        let resolver = NameResolver::new(tree, &scopes);
        let mut graph = ImportGraph::default();
        for (module, scope) in scopes.iter().enumerate() {
            let imports = scope.uses.iter().filter(|import| !import.reexport);
            let imported = imports.filter_map(|import| {
                Some((
                    resolver.declaring_module(module, &import.path)?,
                    import.path.line,
                ))
            });
            let named = scope.paths.iter().filter_map(|path| {
                let target = match path.segments.as_slice() {
                    // Anything else that a single word can mean was imported, or stands here.
                    [name] => resolver.reexported_from(module, name),
                    _ => resolver.declaring_module(module, path),
                };
                Some((target?, path.line))
            });
            for (target, line) in imported.chain(named) {
                graph.add(tree, (module, target), line);
            }
        }
        graph
    }

    fn add(&mut self, tree: &ModuleTree<'_>, (from, to): (ModuleIndex, ModuleIndex), line: usize) {
        let file = |module: ModuleIndex| tree.modules[module].file;
        if file(from) == file(to) {
            return;
        }
        let mut ancestors =
            std::iter::successors(Some(from), |module| tree.modules[*module].parent);
        let edge = self
            .edges
            .entry((file(from), file(to)))
            .or_insert(ImportEdge {
                line,
                to_ancestor: ancestors.any(|module| file(module) == file(to)),
            });
        edge.line = line.min(edge.line);
    }
}

#[cfg(test)]
mod tests;
