//! Chaos suite: workloads and nemeses on members of the real binary, checkers and reports.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for tests, which may end where nobody reads what it says"
)]
#![forbid(unsafe_code)]

pub mod anomaly;
pub mod cancel;
pub mod checker;
pub mod ci;
pub mod cluster;
pub mod history;
pub mod host_monitor;
pub mod job;
pub mod journal;
pub mod judge;
pub mod leader_monitor;
pub mod nemesis;
pub mod outcome;
pub mod pinned_client;
pub mod plan;
pub mod planner;
pub mod planted_bugs;
pub mod record_file;
pub mod report;
pub mod run;
pub mod run_clock;
pub mod run_context;
pub mod selftest;
pub mod shrink;
pub mod soak;
pub mod teardown;
pub mod test_broker;
pub mod verdict;
pub mod workload;
