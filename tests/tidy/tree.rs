//! The files of the repository, in memory, so that rules can be tried on small ones.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::source::Source;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", "quickstart", ".git"];
/// Files that are looked at, besides `Makefile`s, `Cargo.lock` and what is in `scripts` and `.ci`.
const ENDINGS: [&str; 8] = ["rs", "md", "toml", "proto", "sh", "yaml", "yml", "cfg"];

/// What breaks a rule, where, and why the rule is.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub rule: String,
    pub reason: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            path,
            line,
            rule,
            reason,
        } = self;
        write!(f, "{path}:{line}: {rule}. Why: {reason}.")
    }
}

/// Files by path, with `/` between the folders.
pub struct Tree {
    pub texts: BTreeMap<String, String>,
    sources: BTreeMap<String, Source>,
}

impl Tree {
    pub fn of_the_repository() -> Tree {
        let root = root();
        let mut texts = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in
                fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            {
                let entry = entry.unwrap();
                let (path, name) = (entry.path(), entry.file_name());
                let kind = entry.file_type().unwrap();
                if kind.is_dir() && !SKIPPED.contains(&&*name.to_string_lossy()) {
                    folders.push(path);
                } else if kind.is_file() && looked_at(&path) {
                    let text = fs::read_to_string(&path)
                        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                    texts.insert(relative(&root, &path), text);
                }
            }
        }
        Tree::new(texts)
    }

    #[cfg(test)]
    pub fn small(files: &[(&str, &str)]) -> Tree {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Tree::new(files.iter().map(own).collect())
    }

    fn new(texts: BTreeMap<String, String>) -> Tree {
        let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let sources = rust
            .map(|(path, text)| (path.clone(), Source::new(text)))
            .collect();
        Tree { texts, sources }
    }

    pub fn file(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// The Rust files.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.sources
            .iter()
            .map(|(path, source)| (path.as_str(), source))
    }

    pub fn source(&self, path: &str) -> Option<&Source> {
        self.sources.get(path)
    }
}

/// The folder of the repository.
pub fn root() -> PathBuf {
    // Cargo sets it for the run too, where the tree may have moved since it was built.
    let root = std::env::var("CARGO_MANIFEST_DIR");
    PathBuf::from(root.as_deref().unwrap_or(env!("CARGO_MANIFEST_DIR")))
}

fn looked_at(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    ENDINGS.contains(&&*ending)
        || path.ends_with("Makefile")
        || path.ends_with("Cargo.lock")
        || folder == "scripts"
        || folder == ".ci"
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap();
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
