//! Number of test functions, and of those that are run only when asked for.
//!
//! Read from the tokens, not from the syntax tree: so the cases within `proptest! { ... }` are
//! found like any other. Compiled examples in documentation aren't counted.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use serde::Serialize;

use crate::source_tree::SourceTree;

/// Test functions of the whole tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TestCounts {
    /// Functions with `#[test]` or the like of a runtime.
    pub functions: usize,
    /// Those of them with `#[ignore]`.
    pub ignored: usize,
}

impl TestCounts {
    /// Counts the tests of every file.
    pub fn from_tree(tree: &SourceTree) -> TestCounts {
        let mut counts = TestCounts::default();
        for file in &tree.files {
            counts.scan(file.tokens.clone());
        }
        counts
    }

    fn scan(&mut self, tokens: TokenStream) {
        let (mut test, mut ignored) = (false, false);
        let mut after_hash = false;
        for token in tokens {
            match &token {
                TokenTree::Group(group) => {
                    if after_hash && group.delimiter() == Delimiter::Bracket {
                        let name = attribute_name(group.stream());
                        test |= name == "test";
                        ignored |= name == "ignore";
                    }
                    self.scan(group.stream());
                }
                TokenTree::Ident(word) if word == "fn" => {
                    self.functions += usize::from(test);
                    self.ignored += usize::from(test && ignored);
                    (test, ignored) = (false, false);
                }
                TokenTree::Ident(word) if word == "pub" || word == "async" => {}
                TokenTree::Punct(mark) if mark.as_char() == '#' => {}
                _ => (test, ignored) = (false, false),
            }
            after_hash = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '#');
        }
    }
}

/// Last word of an attribute's path: `test` of `tokio::test(start_paused = true)`.
fn attribute_name(tokens: TokenStream) -> String {
    let mut name = String::new();
    for token in tokens {
        match token {
            TokenTree::Ident(word) => name = word.to_string(),
            TokenTree::Punct(mark) if mark.as_char() == ':' => {}
            _ => break,
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::measured;

    #[test]
    fn tests_of_every_form_are_counted() {
        let text = "#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() {}\n\
                    #[tokio::test(start_paused = true)]\n    async fn b() {}\n\
                    proptest! {\n    #[test]\n    fn c(d in 0..9) { e(d) }\n\
                    /// Doc.\n    #[test]\n    fn f() {}\n    }\n\
                    #[cfg(test)]\n    fn g() {}\n    #[test]\n    const H: u8 = 1;\n    fn i() {}\n}\n";
        let more = "#[test]\n#[ignore = \"slow\"]\nfn j() {}\n#[ignore]\n#[test]\npub fn k() {}\n\
                    #[ignore]\nfn l() {}\n";
        let report = measured(&[("src/lib.rs", text), ("raft/tests/t.rs", more)]);
        assert_eq!(
            report.tests,
            TestCounts {
                functions: 6,
                ignored: 2
            }
        );
    }
}
