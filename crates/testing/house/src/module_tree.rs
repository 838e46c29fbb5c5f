//! Modules of each library and program: which file holds them, and how they nest.

use std::collections::BTreeMap;

use syn::Item;

use crate::{
    module_files::{ModuleDeclaration, is_crate_root, plain_name},
    source_tree::{CodeRole, SourceTree},
};

/// Place of a module in its tree.
pub type ModuleIndex = usize;

/// A module: a file, or a body within one.
pub struct ModuleNode<'a> {
    /// File of the module, as an index into the source tree.
    pub file: usize,
    pub parent: Option<ModuleIndex>,
    pub children: BTreeMap<String, ModuleIndex>,
    pub items: &'a [Item],
}

/// All modules of a library or program; the first is its root. Test code is left out.
pub struct ModuleTree<'a> {
    pub modules: Vec<ModuleNode<'a>>,
}

impl<'a> ModuleTree<'a> {
    /// Builds the trees of everything that cargo builds from a `src/` folder.
    pub fn all(tree: &'a SourceTree) -> Vec<ModuleTree<'a>> {
        let places: BTreeMap<&str, usize> = tree
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| matches!(file.role, CodeRole::Product | CodeRole::TestingCrate))
            .map(|(index, file)| (file.path.as_str(), index))
            .collect();
        let is_root = |index: usize| {
            let file = &tree.files[index];
            let folder = file.package.map_or(0, |at| tree.packages[at].folder.len());
            is_crate_root(&file.path[folder..])
        };
        let roots = places.values().copied().filter(|index| is_root(*index));
        let mut trees = Vec::new();
        for root in roots {
            let mut modules = ModuleTree {
                modules: Vec::new(),
            };
            modules.add(tree, &places, (root, None), &tree.files[root].items, &[]);
            trees.push(modules);
        }
        trees
    }

    fn add(
        &mut self,
        tree: &'a SourceTree,
        places: &BTreeMap<&str, usize>,
        (file, parent): (usize, Option<ModuleIndex>),
        items: &'a [Item],
        inline: &[String],
    ) -> ModuleIndex {
        let me = self.modules.len();
        self.modules.push(ModuleNode {
            file,
            parent,
            children: BTreeMap::new(),
            items,
        });
        for item in items {
            let Item::Mod(module) = item else {
                continue;
            };
            let name = plain_name(&module.ident);
            let child = match (
                &module.content,
                ModuleDeclaration::from_item(module, inline),
            ) {
                (Some((_, content)), _) => {
                    let inner = [inline, std::slice::from_ref(&name)].concat();
                    self.add(tree, places, (file, Some(me)), content, &inner)
                }
                (None, Some(declaration)) => {
                    let candidates = declaration.candidates(&tree.files[file].path);
                    let place = candidates.iter().find_map(|it| places.get(it.as_str()));
                    let Some(&place) = place else {
                        continue;
                    };
                    let items = &tree.files[place].items;
                    self.add(tree, places, (place, Some(me)), items, &[])
                }
                (None, None) => continue,
            };
            self.modules[me].children.insert(name, child);
        }
        me
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::FixtureTree;

    #[test]
    fn modules_nest_as_declared() {
        let tree = FixtureTree::with_members(&[
            (
                "src/lib.rs",
                "mod a;\nmod b { mod c; }\nmod gone;\n#[cfg(test)]\nmod tests;\n",
            ),
            ("src/a/mod.rs", ""),
            ("src/b/c.rs", ""),
            ("src/tests.rs", ""),
            ("src/main.rs", "mod p;\n"),
            ("src/p.rs", ""),
        ]);
        let tree = SourceTree::read(tree.root()).unwrap();
        let trees = ModuleTree::all(&tree);
        let files = |modules: &ModuleTree<'_>| -> Vec<String> {
            let files = modules.modules.iter().map(|node| node.file);
            files.map(|file| tree.files[file].path.clone()).collect()
        };
        assert_eq!(trees.len(), 2);
        let library = ["src/lib.rs", "src/a/mod.rs", "src/lib.rs", "src/b/c.rs"];
        assert_eq!(files(&trees[0]), library);
        assert_eq!(trees[0].modules[3].parent, Some(2));
        assert_eq!(files(&trees[1]), ["src/main.rs", "src/p.rs"]);
    }
}
