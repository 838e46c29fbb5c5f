//! What runs inside a connector process.
//!
//! The process is this same program, started again by its member with a socket pair as
//! standard input (the control socket) and the lease page as standard output. It has no
//! settings of its own, opens no port and does nothing without its parent: when the
//! parent dies, the kernel kills it (PDEATHSIG); when the control socket closes, it ends
//! at once; when its lease runs out it stands still, and when it does not, its watchdog ends
//! it.
//!
//! [`run`](mod@run) is the loop that all connectors share: connect, stand by, be active, drain.
//! What a connector does while it is active is its [`role`]: a channel [consumes](consume),
//! hands messages on, retries and dead-letters; an outgoing [sends](send). A kind of broker
//! is a [`link`]: what its protocol is spoken with.

mod amqp;
mod consume;
mod dial;
mod flight;
mod ibm_mq;
#[cfg(test)]
mod lapses;
mod link;
mod progress;
mod role;
mod run;
mod send;
mod start;
mod vacancy;
pub mod watchdog;
mod wires;
mod zmq;

pub use start::run_if_asked;
