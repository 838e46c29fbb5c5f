//! Connectors with real processes and a real RabbitMQ. Consensus is simulated: leadership
//! and state are watches that the tests move.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]

mod conditions;
mod failures;
mod figures;
mod flow;
mod frames;
mod garbage;
mod headers;
mod leases;
mod load;
mod management;
mod matrix;
mod onward;
mod order;
mod pool;
mod processes;
mod progress;
mod quorum;
mod reconfigure;
mod reconfigure_outgoing;
mod reigns;
mod returns;
mod rpc;
mod sending;
mod settled;
mod single_active;
mod stalled;
mod standby;
mod streams;
mod tls;
mod tries;
mod troubles;
mod world;
