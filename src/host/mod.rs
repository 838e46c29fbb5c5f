//! What the operating system can tell: who has a port, whether a process is the one that a
//! pid file means, and how many files it may have open.

pub mod open_files;
pub mod pid_file;
pub mod ports;
pub mod process;
