//! What the machine offers a member: folders and files that are ours alone, processes, ports,
//! addresses, and HTTP clients with bounds.
#![forbid(unsafe_code)]

pub mod bounded_answer;
pub mod egress;
pub mod network;
pub mod open_files;
pub mod pid_file;
pub mod ports;
pub mod private_folder;
pub mod process;
pub mod tls;
pub mod trusted_path;
