//! The report.

use crate::{checker::Run, verdict::Verdict};

/// The name of the file that a run's report is written to.
pub const FILE: &str = "report.html";

/// One run's page.
#[must_use]
pub fn page(_run: &Run, _verdict: &Verdict) -> String {
    String::new()
}
