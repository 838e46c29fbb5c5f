//! Names of types: how many are a single word, and how many mean more than one type.
//!
//! Counted are structs, enums, unions, traits and type aliases that stand in a module, private
//! ones too. Names of associated types, of types within functions and of types that a macro
//! or a build script writes are not: nobody chose them as a name of the workspace.

use std::collections::BTreeMap;

use heck::ToSnakeCase;
use serde::Serialize;
use syn::{Ident, Item};

use crate::{
    culprit::CulpritPlace,
    module_files::plain_name,
    source_tree::{CodeRole, SourceFile, SourceTree},
};

/// Figures of a set of type names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NameFigures {
    pub declarations: usize,
    pub distinct: usize,
    /// Declarations whose name is one word in CamelCase.
    pub one_word: usize,
    /// Distinct names that are declared more than once.
    pub reused: usize,
}

impl NameFigures {
    /// Percentage of declarations with a name of one word.
    pub fn one_word_share(&self) -> f64 {
        percentage(self.one_word, self.declarations)
    }

    /// Percentage of distinct names with more than one meaning.
    pub fn reused_share(&self) -> f64 {
        percentage(self.reused, self.distinct)
    }
}

fn percentage(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}

/// Figures of the type names of product, of the chaos suite, and of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TypeNames {
    pub product: NameFigures,
    pub jepsen: NameFigures,
    pub together: NameFigures,
    /// Names of one word and names with more than one meaning, of both.
    #[serde(skip)]
    pub culprits: Vec<CulpritPlace>,
}

/// A declared type.
struct TypeDeclaration<'a> {
    name: String,
    path: &'a str,
    line: usize,
}

impl TypeNames {
    /// Counts the types that product and chaos suite declare.
    pub fn from_tree(tree: &SourceTree) -> TypeNames {
        let product = declarations(tree.with_role(CodeRole::Product));
        let jepsen = declarations(tree.with_role(CodeRole::TestingCrate).filter(|file| {
            file.package
                .is_some_and(|index| tree.packages[index].is_chaos_suite())
        }));
        let (product_figures, jepsen_figures) = (figures(&product), figures(&jepsen));
        let together: Vec<TypeDeclaration<'_>> = product.into_iter().chain(jepsen).collect();
        TypeNames {
            product: product_figures,
            jepsen: jepsen_figures,
            together: figures(&together),
            culprits: culprits(&together),
        }
    }
}

fn figures(types: &[TypeDeclaration<'_>]) -> NameFigures {
    let meanings = meanings(types);
    NameFigures {
        declarations: types.len(),
        distinct: meanings.len(),
        one_word: types.iter().filter(|it| word_count(&it.name) == 1).count(),
        reused: meanings.values().filter(|count| **count > 1).count(),
    }
}

fn meanings<'a>(types: &'a [TypeDeclaration<'_>]) -> BTreeMap<&'a str, usize> {
    let mut meanings = BTreeMap::new();
    for declaration in types {
        *meanings.entry(declaration.name.as_str()).or_default() += 1;
    }
    meanings
}

fn culprits(types: &[TypeDeclaration<'_>]) -> Vec<CulpritPlace> {
    let meanings = meanings(types);
    let mut found = Vec::new();
    for TypeDeclaration { name, path, line } in types {
        let one_word = word_count(name) == 1;
        let text = match (one_word, meanings[name.as_str()]) {
            (false, 1) => continue,
            (true, 1) => format!("{name}: one word"),
            (false, count) => format!("{name}: {count} declarations"),
            (true, count) => format!("{name}: one word, {count} declarations"),
        };
        found.push(CulpritPlace {
            path: (*path).to_owned(),
            line: *line,
            text,
        });
    }
    // The same names stand side by side.
    found.sort_by(|a, b| (&a.text, &a.path, a.line).cmp(&(&b.text, &b.path, b.line)));
    found
}

/// Number of words of a name in CamelCase; an acronym is one word.
fn word_count(name: &str) -> usize {
    name.to_snake_case().split('_').count()
}

fn declarations<'a>(files: impl Iterator<Item = &'a SourceFile>) -> Vec<TypeDeclaration<'a>> {
    let mut found = Vec::new();
    for file in files {
        collect_types(&file.items, &file.path, &mut found);
    }
    found
}

fn collect_types<'a>(items: &[Item], path: &'a str, found: &mut Vec<TypeDeclaration<'a>>) {
    for item in items {
        if let Item::Mod(module) = item {
            if let Some((_, content)) = &module.content {
                collect_types(content, path, found);
            }
        } else if let Some(ident) = type_name(item) {
            found.push(TypeDeclaration {
                name: plain_name(ident),
                path,
                line: ident.span().start().line,
            });
        }
    }
}

fn type_name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Struct(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::measured;

    #[test]
    fn words_of_names_are_counted() {
        for one in ["Order", "HTTP", "Amqp", "Sha256", "Id128"] {
            assert_eq!(word_count(one), 1, "{one}");
        }
        for two in ["LeaseReader", "HTTPServer", "HttpServer", "V2Api"] {
            assert_eq!(word_count(two), 2, "{two}");
        }
    }

    #[test]
    fn declared_types_are_counted_apart() {
        let report = measured(&[
            (
                "src/lib.rs",
                "struct Order;\nenum SendQueue {}\nmod a { pub trait Order {} }\n\
                 union Bits { a: u8 }\ntype Answer = u8;\n\
                 impl Iterator for Order { type Item = u8; }\nfn f() { struct Local; }\n\
                 #[cfg(test)]\nmod tests { struct Order; }\n",
            ),
            ("raft/src/lib.rs", "pub struct SendQueue;\n"),
            (
                "jepsen/src/lib.rs",
                "pub struct Answer;\npub struct RunContext;\n",
            ),
            ("tests/t.rs", "struct Order;\n"),
        ]);
        let TypeNames {
            product,
            jepsen,
            together,
            ..
        } = &report.type_names;
        let figures = |declarations, distinct, one_word, reused| NameFigures {
            declarations,
            distinct,
            one_word,
            reused,
        };
        assert_eq!(*product, figures(6, 4, 4, 2));
        assert_eq!(*jepsen, figures(2, 2, 1, 0));
        assert_eq!(*together, figures(8, 5, 5, 3));
        assert!((together.one_word_share() - 62.5).abs() < 1e-9);
        assert!((together.reused_share() - 60.0).abs() < 1e-9);
    }

    #[test]
    fn culprits_are_listed_by_name() {
        let report = measured(&[
            (
                "src/lib.rs",
                "struct Order;\nstruct SendQueue;\nstruct SendRouter;\n",
            ),
            (
                "raft/src/lib.rs",
                "\nstruct SendQueue;\nstruct Order;\nstruct Answer;\n",
            ),
        ]);
        let lines: Vec<String> = report
            .type_names
            .culprits
            .iter()
            .map(ToString::to_string)
            .collect();
        let expected = [
            "raft/src/lib.rs:4: Answer: one word",
            "raft/src/lib.rs:3: Order: one word, 2 declarations",
            "src/lib.rs:1: Order: one word, 2 declarations",
            "raft/src/lib.rs:2: SendQueue: 2 declarations",
            "src/lib.rs:2: SendQueue: 2 declarations",
        ];
        assert_eq!(lines, expected);
    }
}
