//! Names and paths of one module: what it declares, what it imports, what its code mentions.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemMacro, ItemMod, ItemUse, Macro, Path, UseTree, VisRestricted, Visibility,
    visit::Visit,
};

use crate::module_files::plain_name;

/// A path in the code, as `crate::a::B`.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedPath {
    pub segments: Vec<String>,
    pub line: usize,
}

/// One name that a `use` brings in.
#[derive(Debug, PartialEq, Eq)]
pub struct UseBinding {
    /// The name in this module; `None` for `*`.
    pub name: Option<String>,
    pub path: NamedPath,
    /// Whether others may reach the name through this module.
    pub reexport: bool,
}

/// Input of name resolution for one module.
#[derive(Debug, Default)]
pub struct ModuleScope {
    /// Names of the items declared here, modules aside.
    pub items: BTreeSet<String>,
    /// Macros that `#[macro_export]` puts into the root of the crate.
    pub exported_macros: BTreeSet<String>,
    pub uses: Vec<UseBinding>,
    pub paths: Vec<NamedPath>,
}

impl ModuleScope {
    /// Collects from a module's items; child modules have scopes of their own.
    pub fn from_items(items: &[Item]) -> ModuleScope {
        let mut scope = ModuleScope::default();
        for item in items {
            scope.items.extend(item_name(item));
            scope.visit_item(item);
        }
        scope
    }

    fn add_use(&mut self, tree: &UseTree, prefix: &[String], reexport: bool) {
        let (name, ident, last) = match tree {
            UseTree::Path(path) => {
                let inner = [prefix, &[plain_name(&path.ident)]].concat();
                return self.add_use(&path.tree, &inner, reexport);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, prefix, reexport);
                }
                return;
            }
            UseTree::Name(name) => {
                let last = plain_name(&name.ident);
                (Some(last.clone()), name.ident.span(), Some(last))
            }
            UseTree::Rename(rename) => {
                let last = plain_name(&rename.ident);
                (
                    Some(plain_name(&rename.rename)),
                    rename.ident.span(),
                    Some(last),
                )
            }
            UseTree::Glob(glob) => (None, glob.star_token.spans[0], None),
        };
        let mut segments = prefix.to_owned();
        let mut name = name;
        match last {
            // `a::{self}` brings in `a`.
            Some(last) if last == "self" && !prefix.is_empty() => {
                if name.as_deref() == Some("self") {
                    name = prefix.last().cloned();
                }
            }
            last => segments.extend(last),
        }
        let line = ident.start().line;
        let path = NamedPath { segments, line };
        self.uses.push(UseBinding {
            name,
            path,
            reexport,
        });
    }

    /// Paths within a macro call, which is only tokens.
    fn add_token_paths(&mut self, tokens: &TokenStream) {
        let mut path = NamedPath {
            segments: Vec::new(),
            line: 0,
        };
        let mut colons = 0;
        for token in tokens.clone() {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.add_token_path(&mut path);
                        path.line = word.span().start().line;
                    }
                    path.segments.push(plain_name(&word));
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.add_token_path(&mut path);
                    self.add_token_paths(&group.stream());
                    colons = 0;
                }
                _ => {
                    self.add_token_path(&mut path);
                    colons = 0;
                }
            }
        }
        self.add_token_path(&mut path);
    }

    fn add_token_path(&mut self, path: &mut NamedPath) {
        let segments = std::mem::take(&mut path.segments);
        // A lone word may be anything; only a type's can be told.
        let is_type = |word: &String| word.starts_with(char::is_uppercase);
        if segments.len() > 1 || segments.first().is_some_and(is_type) {
            let line = path.line;
            self.paths.push(NamedPath { segments, line });
        }
    }
}

fn item_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(plain_name(ident))
}

impl<'ast> Visit<'ast> for ModuleScope {
    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let segments = path.segments.iter().map(|it| plain_name(&it.ident));
            self.paths.push(NamedPath {
                segments: segments.collect(),
                line: first.ident.span().start().line,
            });
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.add_token_paths(&call.tokens);
        syn::visit::visit_macro(self, call);
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        let exported = item
            .attrs
            .iter()
            .any(|it| it.path().is_ident("macro_export"));
        let name = item.ident.as_ref().filter(|_| exported);
        self.exported_macros.extend(name.map(plain_name));
        syn::visit::visit_item_macro(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            let reexport = !matches!(item.vis, Visibility::Inherited);
            self.add_use(&item.tree, &[], reexport);
        }
    }

    // No path leads from a declaration, a visibility or an attribute.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> ModuleScope {
        ModuleScope::from_items(&syn::parse_file(text).unwrap().items)
    }

    #[test]
    fn uses_are_taken_apart() {
        let scope = scope("use a::{self, b::C as D, e::*};\npub(crate) use f;\nuse ::g::H;\n");
        let uses: Vec<_> = scope
            .uses
            .iter()
            .map(|it| (it.name.as_deref(), it.path.segments.join("::"), it.reexport))
            .collect();
        let expected = [
            (Some("a"), "a".to_owned(), false),
            (Some("D"), "a::b::C".to_owned(), false),
            (None, "a::e".to_owned(), false),
            (Some("f"), "f".to_owned(), true),
        ];
        assert_eq!(uses, expected);
    }

    #[test]
    fn paths_in_code_and_macros_are_collected() {
        let text = "mod a { fn x() { y::z(); } }\n#[b::c]\npub(in crate::d) struct E(f::G);\n\
                    fn h() {\n    use i::j;\n    vec![crate::k::L, m, N, o.p(), q: r];\n}\n";
        let scope = scope(text);
        let paths: Vec<_> = scope
            .paths
            .iter()
            .map(|it| (it.segments.join("::"), it.line))
            .collect();
        let expected = [("f::G", 3), ("crate::k::L", 6), ("N", 6), ("vec", 6)];
        assert_eq!(paths, expected.map(|(path, line)| (path.to_owned(), line)));
        assert_eq!(scope.uses[0].path.segments, ["i", "j"]);
        assert_eq!(scope.items.into_iter().collect::<Vec<_>>(), ["E", "h"]);
    }
}
