//! The checkers, on histories that are right and histories that are wrong.

mod tale;

mod anomalies;
mod ends;
mod others;
mod simulated;
mod simulator;
mod sinks;
