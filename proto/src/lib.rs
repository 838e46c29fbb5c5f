//! Wire and log formats of Quorate: generated types, without logic but for what
//! their debug output leaves out.
//!
//! `peer` is spoken between members, `command` is what the replicated log holds,
//! `connector` is spoken between a member and its connector processes.
#![forbid(unsafe_code)]
#![allow(clippy::all)]

mod debug;

/// Member to member: consensus and the invocation of services.
pub mod peer {
    tonic::include_proto!("quorate.peer");
}

/// Writes to the replicated log, and their answers.
pub mod command {
    tonic::include_proto!("quorate.command");
}

/// A member and its connector processes.
pub mod connector {
    tonic::include_proto!("quorate.connector");
}
