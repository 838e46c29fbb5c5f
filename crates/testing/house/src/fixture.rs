//! Checkout of a few files in a temporary folder, for the tests of each figure.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{HouseReport, measure};

/// A folder with files in it, deleted when dropped.
pub struct FixtureTree {
    folder: TempDir,
}

impl FixtureTree {
    /// Writes the files, given by path and text.
    pub fn new(files: &[(&str, &str)]) -> FixtureTree {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        FixtureTree { folder }
    }

    /// Writes a workspace of a root package, `raft` and `jepsen`, with the files given.
    pub fn with_members(files: &[(&str, &str)]) -> FixtureTree {
        let mut all = vec![
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"raft\", \"jepsen\"]\n[package]\nname = \"root\"\n",
            ),
            ("raft/Cargo.toml", "[package]\nname = \"raft\"\n"),
            ("jepsen/Cargo.toml", "[package]\nname = \"jepsen\"\n"),
        ];
        all.extend_from_slice(files);
        FixtureTree::new(&all)
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }
}

/// Measures a workspace of a root package, `raft` and `jepsen`, with the files given.
pub fn measured(files: &[(&str, &str)]) -> HouseReport {
    measure(FixtureTree::with_members(files).root()).unwrap()
}
