//! What a member and a connector process share: frames on the control socket, the lease page,
//! what the host allows, and the outcome of a send.
//!
//! Both sides are the same program, started twice, so this is no public face; the frames are
//! versioned with the program.
#![deny(unsafe_code)]

pub mod frames;
pub mod lease;
pub mod local_rules;
mod send_outcome;

pub use local_rules::{IPC_DIR_HOLDS, LocalRules};
pub use send_outcome::SendOutcome;

/// The first argument of a connector process. Its further ones, for its parent and for
/// `ps`: `KIND/NAME PARENT_PID ALIVE_MS GRACE_MS`.
pub const PROCESS_ARGUMENT: &str = "connector-process";

/// While it stands by, a process gives a sign of life so many times less often. What that
/// costs is little for one and a processor for a thousand.
pub const STANDBY_HEARTBEAT_FACTOR: u32 = 4;
