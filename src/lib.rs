//! Quorate: a highly available integration server.
//!
//! Services run on every member; connectors run on exactly one and move when it dies.
#![deny(unsafe_code)]

pub mod admin;
pub mod balancer;
pub mod cli;
pub mod cluster;
pub mod connector;
pub mod host;
pub mod http;
pub mod manifest;
pub mod replica;
pub mod server;
pub mod service;
pub mod settings;
pub mod state;
mod tls;
