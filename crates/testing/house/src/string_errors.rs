//! Signatures that return a text as their error: `Result<_, String>`.

use serde::Serialize;
use syn::{
    GenericArgument, ItemType, PathArguments, PathSegment, Signature, Type, spanned::Spanned,
    visit::Visit,
};

use crate::{
    culprit::CulpritPlace,
    source_tree::{CodeRole, SourceTree},
};

/// Signatures with a text as error, and aliases that hide one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StringErrors {
    pub product: usize,
    /// In the crates that exist for tests alone.
    pub testing: usize,
    /// All of them: product first.
    #[serde(skip)]
    pub culprits: Vec<CulpritPlace>,
}

impl StringErrors {
    /// Looks at the return type of every function, also within `Option` or a future.
    pub fn from_tree(tree: &SourceTree) -> StringErrors {
        let mut culprits = culprits(tree, CodeRole::Product);
        let product = culprits.len();
        culprits.extend(self::culprits(tree, CodeRole::TestingCrate));
        StringErrors {
            product,
            testing: culprits.len() - product,
            culprits,
        }
    }
}

fn culprits(tree: &SourceTree, role: CodeRole) -> Vec<CulpritPlace> {
    let mut found = Vec::new();
    for file in tree.with_role(role) {
        let mut visitor = SignatureVisitor::default();
        file.items.iter().for_each(|item| visitor.visit_item(item));
        found.extend(visitor.found.into_iter().map(|(line, text)| CulpritPlace {
            path: file.path.clone(),
            line,
            text,
        }));
    }
    found
}

#[derive(Default)]
struct SignatureVisitor {
    found: Vec<(usize, String)>,
}

impl<'ast> Visit<'ast> for SignatureVisitor {
    fn visit_signature(&mut self, signature: &'ast Signature) {
        let mut result = StringErrorVisitor::default();
        result.visit_return_type(&signature.output);
        if result.found {
            let line = signature.span().start().line;
            self.found.push((line, format!("fn {}", signature.ident)));
        }
        syn::visit::visit_signature(self, signature);
    }

    fn visit_item_type(&mut self, alias: &'ast ItemType) {
        let mut result = StringErrorVisitor::default();
        result.visit_type(&alias.ty);
        if result.found {
            let line = alias.ident.span().start().line;
            self.found.push((line, format!("type {}", alias.ident)));
        }
    }
}

/// Finds `Result<_, String>` within a type.
#[derive(Default)]
struct StringErrorVisitor {
    found: bool,
}

impl<'ast> Visit<'ast> for StringErrorVisitor {
    fn visit_path_segment(&mut self, segment: &'ast PathSegment) {
        if let PathArguments::AngleBracketed(arguments) = &segment.arguments
            && segment.ident == "Result"
            && let Some(GenericArgument::Type(Type::Path(error))) = arguments.args.get(1)
            && error
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "String")
        {
            self.found = true;
        }
        syn::visit::visit_path_segment(self, segment);
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::measured;

    #[test]
    fn signatures_with_text_errors_are_listed() {
        let text = "fn a() -> Result<u8, String> { b() }\n\
                    fn b() -> Result<String, Error> { c() }\n\
                    fn c(d: Result<u8, String>) -> Result<String> { e() }\n\
                    trait F { fn g() -> Option<std::result::Result<(), std::string::String>>; }\n\
                    impl H {\n    fn i() -> impl Future<Output = Result<u8, String>> { j() }\n}\n\
                    type Outcome<T> = Result<T, String>;\n\
                    #[cfg(test)]\nmod tests { fn k() -> Result<u8, String> { l() } }\n";
        let other = "fn m() -> Result<(), String> { n() }\n";
        let errors = measured(&[("src/lib.rs", text), ("jepsen/src/lib.rs", other)]).string_errors;
        assert_eq!((errors.product, errors.testing), (4, 1));
        let lines: Vec<String> = errors.culprits.iter().map(ToString::to_string).collect();
        let expected = [
            "src/lib.rs:1: fn a",
            "src/lib.rs:4: fn g",
            "src/lib.rs:6: fn i",
            "src/lib.rs:8: type Outcome",
            "jepsen/src/lib.rs:1: fn m",
        ];
        assert_eq!(lines, expected);
    }
}
