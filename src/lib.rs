//! Quorate: a highly available integration server.
//!
//! Services run on every member; connectors run on exactly one and move when it dies.
//!
//! A program that embeds a member registers [`Service`]s of its own with
//! [`server::Server::builder`]; `examples/embedded.rs` is one, [`service::api`] says what a service
//! may count on. Such a program calls [`run_if_asked`] first of all, since the connector processes
//! of its member are started from the program itself.
#![deny(unsafe_code)]
#![warn(unreachable_pub)]

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
    run_if_asked();
    let code = cli::main();
    // The last lines of the log get out, where they can.
    quorate_log::finish();
    code
}

pub use quorate_connector::run_if_asked;
pub use quorate_log as log;
pub use quorate_service as service;
pub use service::{Message, Origin, Reply, Request, Service, ServiceError};
