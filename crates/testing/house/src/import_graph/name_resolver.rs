//! Resolution of a path to the module in which the thing that it names is declared.
//!
//! Names are looked for as the compiler does: among child modules, items, imports and, last,
//! what `*` brings in. An import or a re-export is followed to where it leads. What a macro
//! declares is not seen; a path to it ends in the module that the path names.

use crate::{
    import_graph::module_scope::{ModuleScope, NamedPath},
    module_tree::{ModuleIndex, ModuleTree},
};

/// Imports that lead to imports, in a row: more than code has, few enough where they form a ring.
const DEPTH_MAX: usize = 8;

/// Meaning of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResolvedName {
    Module(ModuleIndex),
    /// Something declared in this module.
    ItemOf(ModuleIndex),
}

impl ResolvedName {
    fn module(self) -> ModuleIndex {
        match self {
            ResolvedName::Module(module) | ResolvedName::ItemOf(module) => module,
        }
    }
}

/// Resolver of the paths of a library or program.
pub struct NameResolver<'a> {
    tree: &'a ModuleTree<'a>,
    scopes: &'a [ModuleScope],
}

impl<'a> NameResolver<'a> {
    /// Takes the scopes in the order of the tree's modules.
    pub fn new(tree: &'a ModuleTree<'a>, scopes: &'a [ModuleScope]) -> NameResolver<'a> {
        NameResolver { tree, scopes }
    }

    /// Returns the module that declares what a path names; `None` for other crates' things.
    pub fn declaring_module(&self, from: ModuleIndex, path: &NamedPath) -> Option<ModuleIndex> {
        self.resolve(from, &path.segments, false, 0)
            .map(ResolvedName::module)
    }

    /// Returns the module that declares a name which this module re-exports.
    pub fn reexported_from(&self, module: ModuleIndex, name: &str) -> Option<ModuleIndex> {
        let binding = self.scopes[module]
            .uses
            .iter()
            .find(|it| it.reexport && it.name.as_deref() == Some(name))?;
        self.declaring_module(module, &binding.path)
    }

    /// With `as_module`, a last name that is both a module and an item means the module.
    fn resolve(
        &self,
        from: ModuleIndex,
        segments: &[String],
        as_module: bool,
        depth: usize,
    ) -> Option<ResolvedName> {
        if depth > DEPTH_MAX {
            return None;
        }
        let (start, rest) = self.start(from, segments, as_module, depth)?;
        let mut place = start;
        for (at, segment) in rest.iter().enumerate() {
            // Below an item stand its variants and functions.
            let ResolvedName::Module(module) = place else {
                break;
            };
            let as_module = as_module || at + 1 < rest.len();
            match self.lookup(module, segment, as_module, depth) {
                Some(found) => place = found,
                None => return Some(ResolvedName::ItemOf(module)),
            }
        }
        Some(place)
    }

    /// Resolves what a path begins with, and returns it with the names that follow.
    fn start<'s>(
        &self,
        from: ModuleIndex,
        segments: &'s [String],
        as_module: bool,
        depth: usize,
    ) -> Option<(ResolvedName, &'s [String])> {
        let (first, mut rest) = segments.split_first()?;
        let mut module = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.tree.modules[from].parent?,
            name => {
                let as_module = as_module || !rest.is_empty();
                return Some((self.lookup(from, name, as_module, depth)?, rest));
            }
        };
        while let Some((next, further)) = rest.split_first()
            && next == "super"
        {
            module = self.tree.modules[module].parent?;
            rest = further;
        }
        Some((ResolvedName::Module(module), rest))
    }

    fn lookup(
        &self,
        module: ModuleIndex,
        name: &str,
        as_module: bool,
        depth: usize,
    ) -> Option<ResolvedName> {
        let scope = &self.scopes[module];
        let child = self.tree.modules[module].children.get(name).copied();
        let child = child.map(ResolvedName::Module);
        let item = scope
            .items
            .contains(name)
            .then_some(ResolvedName::ItemOf(module));
        let own = if as_module {
            child.or(item)
        } else {
            item.or(child)
        };
        own.or_else(|| {
            let mut named = scope
                .uses
                .iter()
                .filter(|it| it.name.as_deref() == Some(name));
            named.find_map(|it| self.resolve(module, &it.path.segments, as_module, depth + 1))
        })
        .or_else(|| self.exported_macro(module, name))
        .or_else(|| self.lookup_globs(module, name, as_module, depth + 1))
    }

    fn exported_macro(&self, module: ModuleIndex, name: &str) -> Option<ResolvedName> {
        let declaring = || {
            let mut scopes = self.scopes.iter();
            scopes.position(|scope| scope.exported_macros.contains(name))
        };
        (module == 0)
            .then(declaring)
            .flatten()
            .map(ResolvedName::ItemOf)
    }

    fn lookup_globs(
        &self,
        module: ModuleIndex,
        name: &str,
        as_module: bool,
        depth: usize,
    ) -> Option<ResolvedName> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut globs = self.scopes[module]
            .uses
            .iter()
            .filter(|it| it.name.is_none());
        globs.find_map(|glob| {
            let place = self.resolve(module, &glob.path.segments, true, depth)?;
            match place {
                ResolvedName::Module(other) if other != module => {
                    self.lookup(other, name, as_module, depth)
                }
                _ => None,
            }
        })
    }
}
