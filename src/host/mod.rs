//! What the operating system can tell: who has a port, and whether a process is the one
//! that a pid file means.

pub mod pid_file;
pub mod ports;
pub mod process;
