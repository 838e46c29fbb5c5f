//! Packages of a workspace: what `Cargo.toml` names as members, with the root package.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::error::HouseError;

/// Folders of crates that exist for tests alone, where these stood before `crates/testing`.
const TESTING_CRATES: [&str; 3] = ["jepsen", "mq-stand-in", "planted"];
/// Folder of the crates that exist for tests alone.
const TESTING_FOLDER: &str = "crates/testing/";

/// A crate of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageEntry {
    /// Name in its manifest.
    pub name: String,
    /// Folder from the root of the checkout, with `/` at its end; empty for the root itself.
    pub folder: String,
}

impl PackageEntry {
    /// Whether the crate exists for tests alone.
    pub fn is_for_testing(&self) -> bool {
        self.folder.starts_with(TESTING_FOLDER) || TESTING_CRATES.contains(&self.last_folder())
    }

    /// Whether the crate is the chaos suite, whose type names are counted apart.
    pub fn is_chaos_suite(&self) -> bool {
        self.last_folder() == "jepsen"
    }

    fn last_folder(&self) -> &str {
        let folder = self.folder.trim_end_matches('/');
        folder.rsplit('/').next().unwrap_or(folder)
    }
}

#[derive(Deserialize)]
struct ManifestFile {
    package: Option<ManifestPackage>,
    #[serde(default)]
    workspace: ManifestWorkspace,
}

#[derive(Deserialize)]
struct ManifestPackage {
    name: String,
}

#[derive(Default, Deserialize)]
struct ManifestWorkspace {
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
}

/// Reads the packages of the workspace at `root`: the root package first, if there is one.
pub fn read_packages(root: &Path) -> Result<Vec<PackageEntry>, HouseError> {
    let manifest = read_manifest(&root.join("Cargo.toml"))?;
    let mut packages = Vec::new();
    if let Some(package) = manifest.package {
        packages.push(PackageEntry {
            name: package.name,
            folder: String::new(),
        });
    }
    let mut folders = Vec::new();
    for pattern in &manifest.workspace.members {
        folders.extend(expand_pattern(root, pattern)?);
    }
    folders.retain(|folder| !manifest.workspace.exclude.contains(folder));
    for folder in folders {
        let path = root.join(&folder).join("Cargo.toml");
        let member = read_manifest(&path)?;
        let package = member.package.ok_or(HouseError::NoPackage { path })?;
        packages.push(PackageEntry {
            name: package.name,
            folder: format!("{folder}/"),
        });
    }
    Ok(packages)
}

fn read_manifest(path: &Path) -> Result<ManifestFile, HouseError> {
    let text = fs::read_to_string(path).map_err(|error| HouseError::Read {
        path: path.to_owned(),
        error,
    })?;
    toml::from_str(&text).map_err(|error| HouseError::Manifest {
        path: path.to_owned(),
        error: Box::new(error),
    })
}

/// Folders that a member's pattern names: `*` stands for each folder with a manifest.
fn expand_pattern(root: &Path, pattern: &str) -> Result<Vec<String>, HouseError> {
    let mut folders = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut deeper = Vec::new();
        for folder in folders {
            if part == "*" {
                deeper.extend(child_folders(root, &folder)?);
            } else {
                deeper.push(joined(&folder, part));
            }
        }
        folders = deeper;
    }
    if pattern.contains('*') {
        folders.retain(|folder| root.join(folder).join("Cargo.toml").is_file());
    }
    Ok(folders)
}

fn child_folders(root: &Path, folder: &str) -> Result<Vec<String>, HouseError> {
    let path: PathBuf = root.join(folder);
    let failed = |error| HouseError::Read {
        path: path.clone(),
        error,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_dir() {
            found.push(joined(folder, &entry.file_name().to_string_lossy()));
        }
    }
    found.sort();
    Ok(found)
}

fn joined(folder: &str, part: &str) -> String {
    if folder.is_empty() {
        part.to_owned()
    } else {
        format!("{folder}/{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::FixtureTree;

    #[test]
    fn members_by_name_and_pattern_are_read() {
        let tree = FixtureTree::new(&[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"raft\", \"crates/*\", \"crates/testing/*\"]\n\
                 exclude = [\"crates/old\"]\n[package]\nname = \"root\"\n",
            ),
            ("raft/Cargo.toml", "[package]\nname = \"raft\"\n"),
            ("crates/http/Cargo.toml", "[package]\nname = \"http\"\n"),
            ("crates/old/Cargo.toml", "[package]\nname = \"old\"\n"),
            (
                "crates/testing/kit/Cargo.toml",
                "[package]\nname = \"kit\"\n",
            ),
            ("crates/notes/README.md", "No crate.\n"),
        ]);
        let packages = read_packages(tree.root()).unwrap();
        let found: Vec<_> = packages
            .iter()
            .map(|package| (package.name.as_str(), package.is_for_testing()))
            .collect();
        let expected = [
            ("root", false),
            ("raft", false),
            ("http", false),
            ("kit", true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn testing_crates_of_old_layout_are_known() {
        let package = |folder: &str| PackageEntry {
            name: "x".to_owned(),
            folder: folder.to_owned(),
        };
        assert!(package("jepsen/").is_for_testing() && package("jepsen/").is_chaos_suite());
        assert!(package("planted/").is_for_testing() && !package("planted/").is_chaos_suite());
        assert!(!package("raft/").is_for_testing() && !package("").is_for_testing());
    }

    #[test]
    fn member_without_package_is_an_error() {
        let tree = FixtureTree::new(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"),
            ("a/Cargo.toml", "[workspace]\n"),
        ]);
        let error = read_packages(tree.root()).unwrap_err();
        assert!(error.to_string().contains("no [package]"), "{error}");
    }
}
