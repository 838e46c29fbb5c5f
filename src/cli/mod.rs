//! The command line.

pub mod client;
pub mod failure;
pub mod output;
