//! What runs inside a connector process.
//!
//! The process is this same program, started again by its member with a socket pair as
//! standard input (the control socket) and the lease page as standard output. It has no
//! settings of its own, opens no port and does nothing without its parent: when the
//! parent dies, the kernel kills it (PDEATHSIG); when the control socket closes, it ends
//! at once; when its lease is over while it may be consuming, its watchdog ends it.
//!
//! [`run`](mod@run) is the loop that all kinds share: connect and stand by, consume while
//! active, hand messages on, retry, dead-letter, drain. A kind is a [`Link`]: what the
//! broker's protocol is spoken with.

mod amqp;
pub(super) mod backoff;
mod flight;
pub mod frames;
mod link;
mod run;
mod serve;
mod start;
mod vacancy;
pub mod watchdog;
mod wires;

pub use start::{MARK, run_if_asked};
