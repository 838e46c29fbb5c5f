//! Channels and outgoings of ZeroMQ with real processes, and plain programs over libzmq as
//! their peers, in Python and here. Consensus is simulated.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]

mod changes;
mod garbage;
mod losses;
mod peer;
mod takeovers;
mod trips;
mod world;
