//! The checkers and the report, on histories that are right and histories that are wrong.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]

mod tale;

mod anomalies;
mod ends;
mod lasting;
mod others;
mod pages;
mod simulated;
mod simulator;
mod sinks;
