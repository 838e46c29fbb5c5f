//! Quorate as its users run it: real processes, real disks, a real RabbitMQ, a real
//! HAProxy. The tests are sensitive to timing and run one after the other.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]

mod bad_input;
mod balancer;
mod callers;
mod channel;
mod config;
mod connector_commands;
mod embedded;
mod failover;
mod growth;
mod handover;
mod hardening;
mod identity;
mod kills;
mod membership;
mod moved;
mod namespaces;
mod netns;
mod outgoing;
mod paused;
mod promise;
mod proxy;
mod quickstart;
mod secrets;
mod snapshot;
mod standbys;
mod stopped;
mod takeovers;
mod through_balancer;
mod tls;
mod unwritable;
mod watch;
mod wrong_port;
