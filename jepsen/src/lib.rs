//! The chaos suite: workloads and nemeses on members of the real binary, checkers that
//! judge what was seen, and reports that tell of it.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for tests, which may end where nobody reads what it says"
)]
#![forbid(unsafe_code)]

pub mod anomaly;
pub mod broker;
pub mod checker;
pub mod ci;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod ending;
pub mod error_chain;
pub mod history;
pub mod host;
pub mod job;
pub mod journal;
pub mod judge;
pub mod monitor;
pub mod mutants;
pub mod nemesis;
pub mod outcome;
pub mod plan;
pub mod planner;
pub mod record_file;
pub mod report;
pub mod run;
pub mod run_context;
pub mod selftest;
pub mod shrink;
pub mod soak;
pub mod stop;
pub mod verdict;
pub mod workload;

#[path = "../../tests/support/netns.rs"]
mod netns;
#[path = "../../tests/support/rabbitmq.rs"]
mod rabbitmq;
