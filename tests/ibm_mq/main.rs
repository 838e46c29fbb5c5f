//! Channels and outgoings of IBM MQ with real connector processes, *against the stand-in*: a
//! library and a queue manager that are not IBM's (`crates/testing/mq-stand-in/`). What these tests show is
//! how Quorate behaves, not how IBM MQ does. In `client_*` the program at the other end is one
//! that IBM wrote: its client package for Python. `real` runs against a real queue manager
//! where one is named.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]

mod client;
mod client_queues;
mod client_trips;
mod conversion;
mod doubts;
mod failures;
mod mainframe;
mod real;
mod restarts;
mod sandbox;
mod takeovers;
mod trips;
mod troubles;
mod world;
