//! Quorate as its users run it: real processes, real disks, a real RabbitMQ, a real
//! HAProxy. The tests are sensitive to timing and run one after the other.

mod support;

mod bad_input;
mod balancer;
mod channel;
mod config;
mod connector_commands;
mod embedded;
mod failover;
mod growth;
mod handover;
mod kills;
mod membership;
mod namespaces;
mod netns;
mod outgoing;
mod paused;
mod promise;
mod proxy;
mod quickstart;
mod snapshot;
mod standbys;
mod stopped;
mod takeovers;
mod through_balancer;
mod watch;
