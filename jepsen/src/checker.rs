//! The checkers: each looks at a whole run for one kind of thing that must not be, and each is
//! a pure function of what was written down.

pub mod check_report;
pub mod config;
pub mod discipline;
pub mod ending;
pub mod epochs;
pub mod expected;
pub mod finding;
pub mod floors;
pub mod host;
pub mod http;
pub mod linear;
pub mod liveness;
pub mod operation;
pub mod queue;
pub mod run;
pub mod sends;
pub mod set;
pub mod stale;
pub mod steady;
pub mod suite;
pub mod time_limits;
pub mod tries;
pub mod watch;
pub mod witness;

pub use check_report::Checked;
pub use finding::{Finding, Grade, Numbers};
pub use operation::Operation;
pub use run::{Plan, Run};
pub use suite::{Settings, all, register};
