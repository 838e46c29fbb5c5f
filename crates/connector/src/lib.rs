//! Connector process: the run loop, its sessions, and AMQP, IBM MQ and ZeroMQ.
//!
//! The process is this same program, started again by its member with a socket pair as standard
//! input (the control socket) and the lease page as standard output. It has no settings of its own,
//! opens no port and does nothing without its parent: when the parent dies, the kernel kills it
//! (PDEATHSIG); when the control socket closes, it ends at once; when its lease runs out it stands
//! still, and when it does not, its watchdog ends it.
//!
//! [`run_loop`] is the loop that all connectors share: connect, stand by, be active, drain. The
//! work of an active connector is its [`role`]: a channel [consumes](consume), hands messages on,
//! retries and dead-letters; an outgoing [sends](send). A kind of broker is a [`broker_link`]: the
//! connection through which its protocol is spoken.

#![warn(unreachable_pub)]

mod amqp;
mod broker_link;
mod consume;
mod dial;
mod entry_point;
mod exclusive_wait;
mod ibm_mq;
mod in_flight;
#[cfg(test)]
mod lease_lapse_tests;
mod phase_reports;
mod process_context;
mod progress;
mod role;
mod run_loop;
mod send;
pub mod watchdog;
mod zmq;

pub use entry_point::run_if_asked;
