//! Lines of product and of tests: all of them, and those that hold code.

use std::collections::BTreeSet;

use proc_macro2::{Span, TokenStream, TokenTree};
use serde::Serialize;

use crate::source_tree::{CodeRole, SourceFile, SourceTree};

/// Lines of a part of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineCount {
    /// Every line.
    pub raw: usize,
    /// Lines that are neither blank nor comment.
    pub code: usize,
}

impl LineCount {
    fn add(&mut self, other: LineCount) {
        self.raw += other.raw;
        self.code += other.code;
    }
}

/// Lines of the whole tree, by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineFigures {
    pub product: LineCount,
    /// Test code, and the crates that exist for tests alone.
    pub tests: LineCount,
    /// Name of the crate with most lines of product.
    pub largest_crate: String,
    pub largest_crate_lines: usize,
}

impl LineFigures {
    /// Counts the lines of every file; build scripts are left out.
    pub fn from_tree(tree: &SourceTree) -> LineFigures {
        let mut figures = LineFigures::default();
        let mut crate_lines = vec![0; tree.packages.len()];
        for file in &tree.files {
            let (product, tests) = split_lines(file);
            match file.role {
                CodeRole::Product => {
                    figures.product.add(product);
                    figures.tests.add(tests);
                    if let Some(package) = file.package {
                        crate_lines[package] += product.raw;
                    }
                }
                CodeRole::TestCode | CodeRole::TestingCrate => {
                    figures.tests.add(product);
                    figures.tests.add(tests);
                }
                CodeRole::Other => {}
            }
        }
        let largest = tree.packages.iter().zip(crate_lines);
        if let Some((package, lines)) = largest.max_by_key(|(_, lines)| *lines) {
            figures.largest_crate.clone_from(&package.name);
            figures.largest_crate_lines = lines;
        }
        figures
    }
}

/// Lines of a file outside of its test items, and within them.
pub fn split_lines(file: &SourceFile) -> (LineCount, LineCount) {
    let code = code_lines(&file.text, &file.tokens);
    let all = LineCount {
        raw: file.text.lines().count(),
        code: code.len(),
    };
    let mut tests = LineCount::default();
    for (first, last) in &file.tests.line_ranges {
        tests.raw += last + 1 - first;
        tests.code += code.range(first..=last).count();
    }
    let product = LineCount {
        raw: all.raw - tests.raw,
        code: all.code - tests.code,
    };
    (product, tests)
}

/// Numbers of the lines on which a token stands that is no documentation.
fn code_lines(text: &str, tokens: &TokenStream) -> BTreeSet<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = BTreeSet::new();
    mark_lines(&lines, tokens.clone(), &mut found);
    found
}

fn mark_lines(lines: &[&str], tokens: TokenStream, found: &mut BTreeSet<usize>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' && is_comment(lines, mark.span()) => {
                // A doc comment is read as `#[doc = "..."]`, or with `#!`.
                while matches!(tokens.next(), Some(TokenTree::Punct(_))) {}
            }
            TokenTree::Group(group) => {
                found.insert(group.span_open().start().line);
                mark_lines(lines, group.stream(), found);
                found.insert(group.span_close().end().line);
            }
            token => found.extend(token.span().start().line..=token.span().end().line),
        }
    }
}

fn is_comment(lines: &[&str], span: Span) -> bool {
    let start = span.start();
    lines.get(start.line - 1).is_some_and(|line| {
        let mut rest = line.chars().skip(start.column);
        rest.next() == Some('/') && matches!(rest.next(), Some('/' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::measured;

    #[test]
    fn blanks_and_comments_are_no_code() {
        let text = "//! Doc.\n\n/// Doc.\n#[inline]\nfn a() {\n    // why\n    let b = \"c\n\nd\";\n\
                    /* x\n y */ e();\n\n}\n/** doc\n doc */\nconst F: u8 = 1; // end\n";
        let code = code_lines(text, &text.parse().unwrap());
        assert_eq!(
            code.into_iter().collect::<Vec<_>>(),
            [4, 5, 7, 8, 9, 11, 13, 16]
        );
    }

    #[test]
    fn lines_are_split_by_purpose() {
        let report = measured(&[
            ("build.rs", "fn main() {}\n"),
            (
                "src/lib.rs",
                "//! A.\nmod a;\n\n#[cfg(test)]\nmod tests {\n    // no\n}\n",
            ),
            ("src/a.rs", "fn a() {}\n"),
            ("tests/t.rs", "//! T.\nfn t() {}\n"),
            ("jepsen/src/lib.rs", "fn j() {}\n"),
            ("raft/src/lib.rs", "fn r() {}\n"),
        ]);
        let LineFigures { product, tests, .. } = report.lines;
        assert_eq!(product, LineCount { raw: 5, code: 3 });
        assert_eq!(tests, LineCount { raw: 7, code: 5 });
        assert_eq!(report.lines.largest_crate, "root");
        assert_eq!(report.lines.largest_crate_lines, 4);
    }
}
