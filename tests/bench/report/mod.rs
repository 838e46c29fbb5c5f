//! Table, plot and raw figures, written anew after each step.

mod legend;
mod plot;
pub mod stats;
mod table;

use std::path::Path;

use crate::{
    plan::{self, Case},
    record::{self, FILE, Record, Series},
};

/// Writes all three files.
pub fn write(record: &Record, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    record.save(folder);
    let known = known(record);
    record::replace(&folder.join("failover.md"), &table::render(record, &known));
    record::replace(&folder.join("failover.svg"), &plot::render(&known));
}

/// The series of the plan that have trials, in its order.
fn known(record: &Record) -> Vec<(Case, &Series)> {
    let find = |case: &Case| record.series.iter().find(|series| series.is_of(case));
    let cases = plan::all().into_iter();
    cases
        .filter_map(|case| find(&case).map(|series| (case, series)))
        .collect()
}

/// The line under the table and the plot.
fn source() -> String {
    format!("Written by `make bench-failover` from [{FILE}]({FILE}).")
}
