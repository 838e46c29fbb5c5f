//! All figures of a checkout.

use std::path::Path;

use serde::Serialize;

use crate::{
    error::HouseError, file_lengths::FileLengths, function_lengths::FunctionLengths,
    import_circles::ImportCircles, line_counts::LineFigures, source_tree::SourceTree,
    string_errors::StringErrors, test_counts::TestCounts, type_names::TypeNames,
};

/// Figures of a checkout, and what keeps them from their goals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HouseReport {
    /// Lines of product and of tests.
    pub lines: LineFigures,
    /// Number of packages, the root's included.
    pub crates: usize,
    /// Names of types: those of one word, those with more than one meaning.
    pub type_names: TypeNames,
    /// Files that import each other.
    pub import_circles: ImportCircles,
    /// Lengths of product's functions.
    pub functions: FunctionLengths,
    /// Lengths of product's files.
    pub files: FileLengths,
    /// Signatures that return `Result<_, String>`.
    pub string_errors: StringErrors,
    /// Test functions.
    pub tests: TestCounts,
}

/// Measures the checkout at `root`.
pub fn measure(root: &Path) -> Result<HouseReport, HouseError> {
    let tree = SourceTree::read(root)?;
    Ok(HouseReport {
        lines: LineFigures::from_tree(&tree),
        crates: tree.packages.len(),
        type_names: TypeNames::from_tree(&tree),
        import_circles: ImportCircles::from_tree(&tree),
        functions: FunctionLengths::from_tree(&tree),
        files: FileLengths::from_tree(&tree),
        string_errors: StringErrors::from_tree(&tree),
        tests: TestCounts::from_tree(&tree),
    })
}

#[cfg(test)]
mod tests {
    use crate::fixture::measured;

    #[test]
    fn packages_are_counted_with_root() {
        assert_eq!(measured(&[]).crates, 3);
    }
}
