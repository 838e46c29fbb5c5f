//! Test code within a file: items under `#[cfg(test)]` and functions with `#[test]`.

use proc_macro2::Span;
use syn::{
    Attribute, ImplItem, Item, Meta, Token, TraitItem, punctuated::Punctuated, spanned::Spanned,
};

use crate::module_files::ModuleDeclaration;

/// Test code of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TestCode {
    /// First and last line of each test item, attributes and docs included.
    pub line_ranges: Vec<(usize, usize)>,
    /// Modules of tests that stand in files of their own.
    pub modules: Vec<ModuleDeclaration>,
}

impl TestCode {
    /// Removes the test code from a file's items, and returns what was removed.
    pub fn split_off(items: &mut Vec<Item>) -> TestCode {
        let mut removed = TestCode::default();
        removed.split_off_items(items, &[]);
        removed
    }

    fn split_off_items(&mut self, items: &mut Vec<Item>, parents: &[String]) {
        items.retain_mut(|item| {
            if self.takes(item_attributes(item), item.span()) {
                if let Item::Mod(module) = item {
                    self.modules
                        .extend(ModuleDeclaration::from_item(module, parents));
                }
                return false;
            }
            match item {
                Item::Mod(module) => {
                    if let Some((_, content)) = &mut module.content {
                        let inner = [parents, &[module.ident.to_string()]].concat();
                        self.split_off_items(content, &inner);
                    }
                }
                Item::Impl(block) => block
                    .items
                    .retain(|item| !self.takes(impl_item_attributes(item), item.span())),
                Item::Trait(block) => block
                    .items
                    .retain(|item| !self.takes(trait_item_attributes(item), item.span())),
                _ => {}
            }
            true
        });
    }

    fn takes(&mut self, attributes: &[Attribute], span: Span) -> bool {
        let test = is_test_code(attributes);
        if test {
            self.line_ranges.push((span.start().line, span.end().line));
        }
        test
    }
}

/// Whether attributes make their item test code.
pub fn is_test_code(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        if path.is_ident("cfg") {
            return requires_test(&attribute.meta);
        }
        path.segments
            .last()
            .is_some_and(|last| last.ident == "test")
    })
}

/// Whether a `cfg` predicate holds in test builds only: `test`, or an `all` with it inside.
fn requires_test(meta: &Meta) -> bool {
    match meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") || list.path.is_ident("all") => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|inner| inner.iter().any(requires_test)),
        _ => false,
    }
}

fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn impl_item_attributes(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        _ => &[],
    }
}

fn trait_item_attributes(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed_lines(text: &str) -> Vec<(usize, usize)> {
        TestCode::split_off(&mut syn::parse_file(text).unwrap().items).line_ranges
    }

    #[test]
    fn test_items_are_removed_with_attributes() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n\
                    #[tokio::test]\nasync fn c() {}\n\
                    impl D {\n    /// Doc.\n    #[cfg(all(test, unix))]\n    fn e() {}\n}\n\
                    mod f {\n    #[cfg(test)]\n    use g::h;\n}\n";
        assert_eq!(removed_lines(text), [(2, 5), (6, 7), (9, 11), (14, 15)]);
    }

    #[test]
    fn items_of_normal_builds_are_kept() {
        let text = "#[cfg(not(test))]\nfn a() {}\n#[cfg(any(test, unix))]\nfn b() {}\n\
                    #[cfg(feature = \"test\")]\nfn c() {}\n";
        assert_eq!(removed_lines(text), []);
    }
}
