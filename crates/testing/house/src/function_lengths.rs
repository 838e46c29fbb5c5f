//! Lengths of functions, from the signature to the closing brace.

use serde::Serialize;
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn, spanned::Spanned, visit::Visit};

use crate::{
    culprit::CulpritPlace,
    length_figures::LengthFigures,
    source_tree::{CodeRole, SourceTree},
    table_function::is_table,
};

/// Lines that a function may have.
pub const FUNCTION_LINES_MAX: usize = 80;

/// Figures of the functions of product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FunctionLengths {
    pub all: LengthFigures,
    /// Longest function that is no table.
    pub longest_but_tables: usize,
    /// Functions above the limit that are no tables.
    pub over_limit_but_tables: usize,
    /// Functions above the limit, the longest first.
    #[serde(skip)]
    pub culprits: Vec<CulpritPlace>,
}

struct FunctionLength {
    name: String,
    line: usize,
    lines: usize,
    table: bool,
}

impl FunctionLengths {
    /// Measures every function with a body, nested ones too.
    pub fn from_tree(tree: &SourceTree) -> FunctionLengths {
        let mut found = Vec::new();
        for file in tree.with_role(CodeRole::Product) {
            let mut visitor = FunctionVisitor::default();
            file.items.iter().for_each(|item| visitor.visit_item(item));
            let functions = visitor.functions.into_iter();
            found.extend(functions.map(|function| (file.path.as_str(), function)));
        }
        found.sort_by_key(|(path, function)| (usize::MAX - function.lines, *path, function.line));
        let lengths = found.iter().map(|(_, function)| function.lines).collect();
        let others = || found.iter().filter(|(_, function)| !function.table);
        let over = |function: &FunctionLength| function.lines > FUNCTION_LINES_MAX;
        FunctionLengths {
            all: LengthFigures::new(lengths, FUNCTION_LINES_MAX),
            longest_but_tables: others().next().map_or(0, |(_, function)| function.lines),
            over_limit_but_tables: others().filter(|(_, function)| over(function)).count(),
            culprits: found
                .iter()
                .filter(|(_, function)| over(function))
                .map(|(path, function)| culprit(path, function))
                .collect(),
        }
    }
}

fn culprit(path: &str, function: &FunctionLength) -> CulpritPlace {
    let FunctionLength { name, lines, .. } = function;
    let table = if function.table { ", a table" } else { "" };
    CulpritPlace {
        path: path.to_owned(),
        line: function.line,
        text: format!("{name}: {lines} lines{table}"),
    }
}

#[derive(Default)]
struct FunctionVisitor {
    functions: Vec<FunctionLength>,
}

impl FunctionVisitor {
    fn push(&mut self, signature: &Signature, block: &Block) {
        let first = signature.span().start().line;
        let last = block.brace_token.span.close().end().line;
        self.functions.push(FunctionLength {
            name: signature.ident.to_string(),
            line: first,
            lines: last + 1 - first,
            table: is_table(block),
        });
    }
}

impl<'ast> Visit<'ast> for FunctionVisitor {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.push(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.push(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.push(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::measured;

    fn long_function(name: &str, lines: usize) -> String {
        let body = "    if a() {}\n".repeat(lines - 2);
        format!("fn {name}() {{\n{body}}}\n")
    }

    #[test]
    fn every_kind_of_function_is_measured() {
        let text = "/// Doc.\n#[inline]\npub async fn a(\n    b: u8,\n) {\n    fn c() {}\n}\n\
                    trait D { fn e(); fn f() {} }\nimpl G {\n    fn h() {\n    }\n}\n\
                    #[cfg(test)]\nmod tests { fn i() {} }\n";
        let functions =
            measured(&[("src/lib.rs", text), ("jepsen/src/lib.rs", "fn j() {}\n")]).functions;
        assert_eq!((functions.all.count, functions.all.longest), (4, 5));
        assert_eq!((functions.all.median, functions.all.p90), (1, 2));
    }

    #[test]
    fn functions_over_limit_are_listed() {
        let table = format!("fn t() {{\n{}}}\n", "    say!();\n".repeat(98));
        let text = [long_function("a", 80), long_function("b", 81), table].concat();
        let functions = measured(&[("src/lib.rs", &text)]).functions;
        assert_eq!((functions.all.longest, functions.all.over_limit), (100, 2));
        assert_eq!(functions.longest_but_tables, 81);
        assert_eq!(functions.over_limit_but_tables, 1);
        let lines: Vec<String> = functions.culprits.iter().map(ToString::to_string).collect();
        let expected = [
            "src/lib.rs:162: t: 100 lines, a table",
            "src/lib.rs:81: b: 81 lines",
        ];
        assert_eq!(lines, expected);
    }
}
