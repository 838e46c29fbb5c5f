//! Quorate: a highly available integration server.
//!
//! Services run on every member; connectors run on exactly one and move when it dies.
#![deny(unsafe_code)]

pub mod admin;
pub mod balancer;
pub mod cluster;
pub mod connector;
pub mod http;
pub mod manifest;
pub mod replica;
pub mod service;
pub mod state;
