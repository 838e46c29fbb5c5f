//! The checkers and the report, on histories that are right and histories that are wrong.

mod tale;

mod anomalies;
mod ends;
mod lasting;
mod others;
mod pages;
mod simulated;
mod simulator;
mod sinks;
