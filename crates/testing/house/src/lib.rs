//! Measure of the source tree: lines, crates, type names, import circles, lengths, errors.
//!
//! The tree is parsed, not searched by text, so the figures of two checkouts compare even when
//! their layouts differ. `source_tree` defines product and tests; each figure has a module of
//! its own that defines what is counted.
#![forbid(unsafe_code)]

mod culprit;
mod error;
mod file_lengths;
#[cfg(test)]
mod fixture;
mod function_lengths;
mod house_report;
mod import_circles;
mod import_graph;
mod length_figures;
mod line_counts;
mod module_files;
mod module_tree;
mod report_table;
mod source_tree;
mod string_errors;
mod table_function;
mod test_code;
mod test_counts;
mod type_names;
mod workspace;

pub use culprit::CulpritPlace;
pub use error::HouseError;
pub use house_report::{HouseReport, measure};
pub use report_table::render_table;
