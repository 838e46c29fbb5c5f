//! Members of a group in one process: real RocksDB, real gRPC on loopback, a small machine.
//! Each member has a runtime of its own, so that it can die at any moment, and reaches each
//! other one through a proxy of its own, so that any link can fall silent.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for the person who runs it"
)]

mod basics;
mod deaths;
mod failover;
mod group;
mod hang;
mod kills;
mod links;
mod machine;
mod narrow;
mod partition;
#[cfg(feature = "mutants")]
mod planted;
mod process;
mod snapshots;
mod start_modes;
mod throughput;
mod timing_pressure;
mod tls;
mod transfer;
