//! Rust files of a checkout, parsed, each with its part in the project.
//!
//! Product is the code below a crate's `src/`. Test code is every file below a folder of tests,
//! every file that a `#[cfg(test)] mod` declares with all files below that, and items under
//! `#[cfg(test)]` or `#[test]`. Crates for testing alone are neither: their `src/` counts as
//! code of its own for names, circles and signatures, and as tests for lines.

use std::{collections::BTreeSet, fs, path::Path};

use proc_macro2::TokenStream;
use syn::Item;
use walkdir::{DirEntry, WalkDir};

use crate::{
    error::HouseError,
    module_files::module_folder,
    test_code::{TestCode, is_test_code},
    workspace::{PackageEntry, read_packages},
};

/// Folders whose files are test code.
const TEST_FOLDERS: [&str; 4] = ["tests", "benches", "examples", "fuzz"];

/// Part of a file in the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeRole {
    /// Code that is shipped.
    Product,
    /// Source of a crate that exists for tests alone.
    TestingCrate,
    /// Tests, benchmarks, examples and fuzz targets.
    TestCode,
    /// Build scripts, and files that belong to no package.
    Other,
}

/// A parsed Rust file.
pub struct SourceFile {
    /// Path from the root of the checkout, with `/` between folders.
    pub path: String,
    /// Package of the file, as an index into the tree's packages.
    pub package: Option<usize>,
    pub role: CodeRole,
    pub text: String,
    pub tokens: TokenStream,
    /// Items without the test code among them.
    pub items: Vec<Item>,
    pub tests: TestCode,
}

/// All Rust files of a checkout.
pub struct SourceTree {
    pub packages: Vec<PackageEntry>,
    /// By path.
    pub files: Vec<SourceFile>,
}

impl SourceTree {
    /// Reads and parses the checkout at `root`.
    pub fn read(root: &Path) -> Result<SourceTree, HouseError> {
        let packages = read_packages(root)?;
        let mut files = Vec::new();
        let walk = WalkDir::new(root).sort_by_file_name().into_iter();
        for entry in walk.filter_entry(is_ours) {
            let entry = entry.map_err(HouseError::Walk)?;
            if entry.file_type().is_file() && entry.path().extension().is_some_and(|it| it == "rs")
            {
                files.push(read_file(root, entry.path(), &packages)?);
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut tree = SourceTree { packages, files };
        tree.mark_test_modules();
        Ok(tree)
    }

    /// Files of one role.
    pub fn with_role(&self, role: CodeRole) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(move |file| file.role == role)
    }

    fn mark_test_modules(&mut self) {
        let mut test_files = BTreeSet::new();
        let mut test_folders = BTreeSet::new();
        for file in &self.files {
            for module in &file.tests.modules {
                for candidate in module.candidates(&file.path) {
                    test_folders.insert(module_folder(&candidate));
                    test_files.insert(candidate);
                }
            }
        }
        for file in &mut self.files {
            let below = test_folders
                .iter()
                .any(|folder| file.path.starts_with(folder));
            if below || test_files.contains(&file.path) {
                file.role = CodeRole::TestCode;
            }
        }
    }
}

/// Whether an entry is neither hidden nor what cargo builds.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() == 0 || !(name.starts_with('.') || name == "target")
}

fn read_file(
    root: &Path,
    path: &Path,
    packages: &[PackageEntry],
) -> Result<SourceFile, HouseError> {
    let text = fs::read_to_string(path).map_err(|error| HouseError::Read {
        path: path.to_owned(),
        error,
    })?;
    let inside = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
    let path = parts.join("/");
    let tokens = text.parse().map_err(|error: proc_macro2::LexError| {
        let line = error.span().start().line;
        HouseError::Tokens {
            path: path.clone(),
            line,
            error,
        }
    })?;
    let mut parsed = syn::parse_file(&text).map_err(|error| {
        let line = error.span().start().line;
        HouseError::Syntax {
            path: path.clone(),
            line,
            error,
        }
    })?;
    let package = package_index(&path, packages);
    let role = if is_test_code(&parsed.attrs) {
        CodeRole::TestCode
    } else {
        role_by_place(&path, package.map(|index| &packages[index]))
    };
    Ok(SourceFile {
        package,
        role,
        text,
        tokens,
        tests: TestCode::split_off(&mut parsed.items),
        items: parsed.items,
        path,
    })
}

/// The package in whose folder a file stands: the deepest one.
fn package_index(path: &str, packages: &[PackageEntry]) -> Option<usize> {
    let around = packages
        .iter()
        .enumerate()
        .filter(|(_, package)| path.starts_with(&package.folder));
    around
        .max_by_key(|(_, package)| package.folder.len())
        .map(|(index, _)| index)
}

fn role_by_place(path: &str, package: Option<&PackageEntry>) -> CodeRole {
    let inside = package.map_or(path, |package| &path[package.folder.len()..]);
    let mut folders = inside.split('/').rev().skip(1);
    if folders.any(|folder| TEST_FOLDERS.contains(&folder)) {
        return CodeRole::TestCode;
    }
    match package {
        Some(package) if !inside.starts_with("src/") => {
            if package.is_for_testing() {
                CodeRole::TestCode
            } else {
                CodeRole::Other
            }
        }
        Some(package) if package.is_for_testing() => CodeRole::TestingCrate,
        Some(_) => CodeRole::Product,
        None => CodeRole::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::FixtureTree;

    #[test]
    fn files_have_role_by_place_and_declaration() {
        let tree = FixtureTree::with_members(&[
            ("build.rs", ""),
            ("examples/e.rs", ""),
            ("raft/fuzz/f.rs", ""),
            ("raft/src/lib.rs", "mod a;\n#[cfg(test)]\nmod checks;\n"),
            ("raft/src/a.rs", ""),
            ("raft/src/a/tests/b.rs", ""),
            ("raft/src/checks.rs", "mod deep;\n"),
            ("raft/src/checks/deep.rs", ""),
            ("raft/src/whole.rs", "#![cfg(test)]\n"),
            ("jepsen/src/lib.rs", ""),
            ("jepsen/build.rs", ""),
            ("target/x.rs", "not Rust"),
            (".hidden/x.rs", "not Rust"),
        ]);
        let tree = SourceTree::read(tree.root()).unwrap();
        let paths = |role| -> Vec<&str> {
            tree.with_role(role)
                .map(|file| file.path.as_str())
                .collect()
        };
        assert_eq!(
            paths(CodeRole::Product),
            ["raft/src/a.rs", "raft/src/lib.rs"]
        );
        assert_eq!(paths(CodeRole::TestingCrate), ["jepsen/src/lib.rs"]);
        assert_eq!(paths(CodeRole::Other), ["build.rs"]);
        let tests = [
            "examples/e.rs",
            "jepsen/build.rs",
            "raft/fuzz/f.rs",
            "raft/src/a/tests/b.rs",
            "raft/src/checks.rs",
            "raft/src/checks/deep.rs",
            "raft/src/whole.rs",
        ];
        assert_eq!(paths(CodeRole::TestCode), tests);
    }

    #[test]
    fn broken_file_is_named_with_line() {
        let tree = FixtureTree::with_members(&[("src/lib.rs", "fn a() {}\nfn {}\n")]);
        let error = SourceTree::read(tree.root()).err().unwrap().to_string();
        assert!(error.starts_with("src/lib.rs:2: "), "{error}");
    }
}
