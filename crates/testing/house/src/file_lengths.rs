//! Lengths of product's files, without the tests in them.

use serde::Serialize;

use crate::{
    culprit::CulpritPlace,
    length_figures::LengthFigures,
    line_counts::split_lines,
    source_tree::{CodeRole, SourceTree},
};

/// Lines that a file may have.
pub const FILE_LINES_MAX: usize = 450;

/// Figures of the files of product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileLengths {
    pub all: LengthFigures,
    /// Files above the limit, the longest first.
    #[serde(skip)]
    pub culprits: Vec<CulpritPlace>,
}

impl FileLengths {
    /// Measures every file of product.
    pub fn from_tree(tree: &SourceTree) -> FileLengths {
        let mut files: Vec<(usize, &str)> = tree
            .with_role(CodeRole::Product)
            .map(|file| (split_lines(file).0.raw, file.path.as_str()))
            .collect();
        files.sort_by_key(|(lines, path)| (usize::MAX - lines, *path));
        let over = files.iter().filter(|(lines, _)| *lines > FILE_LINES_MAX);
        FileLengths {
            culprits: over
                .map(|(lines, path)| CulpritPlace {
                    path: (*path).to_owned(),
                    line: FILE_LINES_MAX + 1,
                    text: format!("{lines} lines"),
                })
                .collect(),
            all: LengthFigures::new(
                files.into_iter().map(|(lines, _)| lines).collect(),
                FILE_LINES_MAX,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::measured;

    #[test]
    fn long_files_of_product_are_listed() {
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn t() {}\n".repeat(500)
        );
        let long = "fn a() {}\n".repeat(451);
        let most = "fn b() {}\n".repeat(450) + &tests;
        let files = measured(&[
            ("src/lib.rs", &most),
            ("src/long.rs", &long),
            ("raft/src/lib.rs", "fn c() {}\n"),
            ("jepsen/src/lib.rs", &long),
            ("tests/t.rs", &long),
        ])
        .files;
        assert_eq!((files.all.count, files.all.median), (3, 450));
        assert_eq!((files.all.longest, files.all.over_limit), (451, 1));
        let lines: Vec<String> = files.culprits.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["src/long.rs:451: 451 lines"]);
    }
}
