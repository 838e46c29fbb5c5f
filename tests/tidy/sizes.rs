//! How long files are.

use crate::{
    modules::reached,
    tree::{Finding, Tree},
};

/// No file is longer, tests included.
const LONGEST: usize = 600;
/// The middle file of the product, without its tests.
const MEDIAN: usize = 150;
/// Nine of ten files of the product, without their tests.
const P90: usize = 400;

pub fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.sources() {
        let lines = source.raw.len();
        if lines > LONGEST {
            findings.push(Finding {
                path: path.to_owned(),
                line: LONGEST + 1,
                rule: format!("the file has {lines} lines; at most {LONGEST} are allowed"),
                reason: "a file is read in one go; split it by meaning",
            });
        }
    }
    let product = reached(tree).into_iter().filter(|(_, test)| !test);
    let length = |path: &str| {
        tree.source(path)
            .map_or(0, |source| source.product().count())
    };
    let mut lengths: Vec<(usize, String)> =
        product.map(|(path, _)| (length(&path), path)).collect();
    lengths.sort();
    for (name, limit, place) in [("median", MEDIAN, 50), ("90th percentile", P90, 90)] {
        let Some((lines, path)) = lengths.get(lengths.len().saturating_sub(1) * place / 100) else {
            continue;
        };
        if *lines > limit {
            findings.push(Finding {
                path: path.clone(),
                line: 1,
                rule: format!(
                    "the {name} of all files is {lines} lines; at most {limit} are allowed"
                ),
                reason: "small files with one meaning each are found and understood faster",
            });
        }
    }
    findings
}

#[test]
fn long_files_are_found() {
    let long = format!("//! L.\n{}", "fn a() {}\n".repeat(LONGEST));
    let middling = "//! M.\n".to_owned() + &"fn a() {}\n".repeat(MEDIAN);
    let tests = format!(
        "//! T.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
        "fn a() {}\n".repeat(P90)
    );
    let rules = |files: &[(&str, &str)]| -> Vec<String> {
        findings(&Tree::small(files))
            .into_iter()
            .map(|f| f.rule)
            .collect()
    };
    assert_eq!(rules(&[("tests/t.rs", &long)]).len(), 1);
    assert_eq!(rules(&[("src/lib.rs", &tests)]), [""; 0]);
    let found = rules(&[("src/lib.rs", &middling)]);
    assert_eq!(
        found,
        ["the median of all files is 151 lines; at most 150 are allowed"]
    );
}
