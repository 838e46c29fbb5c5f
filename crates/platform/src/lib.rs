//! What the machine offers a member: folders and files that are ours alone, processes, ports,
//! addresses, and HTTP clients with bounds.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

pub mod egress;
pub mod egress_client;
pub mod file_sandbox;
pub mod host_processes;
pub mod http_client;
pub mod ip_network;
pub mod open_file_limit;
pub mod pid_file;
pub mod port_binding;
pub mod private_folder;
pub mod process_secrecy;
pub mod socket_owner;
pub mod trusted_path;
