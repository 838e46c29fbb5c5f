//! Protocol between a member and its connector processes: frames, lease page, local rules.
//!
//! The control socket carries frames, among them the settings and the outcome of a send; the local
//! rules say what the host allows. Both sides are the same program, started twice, so this is no
//! public face; the frames are versioned with the program.
#![deny(unsafe_code)]
#![warn(unreachable_pub)]

pub mod connector_sandbox;
mod connector_settings;
mod egress_networks;
pub mod frames;
pub mod lease;
pub mod local_rules;
mod process_rules;
mod send_outcome;

pub use connector_settings::{
    ConnectorResource, ConnectorSettings, DeliverySettings, SendSettings, SettingsPart,
};
pub use egress_networks::{EgressNetworks, check_egress};
pub use local_rules::{IPC_DIR_HOLDS, LocalRules};
pub use process_rules::{ProcessRules, SandboxMode};
pub use send_outcome::SendOutcome;

/// First argument of a connector process. Its further ones, for its parent and for `ps`: `KIND/NAME
/// PARENT_PID ALIVE_MS GRACE_MS`.
pub const PROCESS_ARGUMENT: &str = "connector-process";

/// Factor by which the heartbeats of a process that stands by are rarer. Their cost is little for
/// one process and a processor for a thousand.
pub const STANDBY_HEARTBEAT_FACTOR: u32 = 4;
