//! Quorate: a highly available integration server.
//!
//! Services run on every member; connectors run on exactly one and move when it dies.
#![deny(unsafe_code)]

pub mod cli;
pub mod connector;
pub mod host;
pub mod service;
pub mod settings;
pub mod state;
mod tls;
