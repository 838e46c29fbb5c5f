//! Quorate: a highly available integration server.
//!
//! Services run on every member; connectors run on exactly one and move when it dies.
//!
//! A program that embeds a member registers [`Service`]s of its own with
//! [`server::BackendServer::builder`]; `examples/embedded.rs` is one, [`service::api`] says what a
//! service may count on.
#![deny(unsafe_code)]

pub mod admin;
pub mod balancer;
pub mod cli;
pub mod cluster;
pub mod manifest;
pub mod replica;
pub mod server;
pub mod settings;

/// The program `quorate`: connector processes, which are this same file, branch off first.
pub fn program() -> std::process::ExitCode {
    quorate_connector::run_if_asked();
    let code = cli::main();
    // What was said last gets out, where it can.
    quorate_log::finish();
    code
}

pub use quorate_log as log;
pub use quorate_service as service;
pub use service::{Message, Origin, Reply, Request, Service, ServiceError};
