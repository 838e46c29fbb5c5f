//! Checkers and report, on histories that are right and histories that are wrong.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]

mod run_fixture;

mod anomalies;
mod lasting;
mod pages;
mod run_ends;
mod simulated;
mod simulator;
mod sinks;
mod workloads;
