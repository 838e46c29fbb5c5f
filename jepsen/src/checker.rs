//! Checkers: each looks at a whole run for one kind of thing that must not be.
//!
//! Each is a pure function of what was written down.

pub mod check_report;
pub mod config;
pub mod coverage_floor;
pub mod epochs;
pub mod expected_errors;
pub mod final_state;
pub mod finding;
pub mod harness_rules;
pub mod http;
pub mod lasting_faults;
pub mod linearizability;
pub mod liveness;
pub mod operation;
pub mod queue;
pub mod recorded_run;
pub mod revision_order;
pub mod sends;
pub mod set;
pub mod stale_epochs;
pub mod starved_host;
pub mod suite;
pub mod time_limits;
pub mod tries;
pub mod watch;

pub use check_report::CheckReport;
pub use finding::{CheckFinding, FindingGrade, RunCounts};
pub use operation::ClientOperation;
pub use recorded_run::{RecordedPlan, RecordedRun};
pub use suite::{CheckSettings, all, register};
