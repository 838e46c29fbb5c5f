//! Connectors with real processes and a real RabbitMQ. Consensus is simulated: leadership
//! and state are watches that the tests move.

mod failures;
mod figures;
mod flow;
mod leases;
mod management;
mod processes;
mod reigns;
mod standby;
mod troubles;
mod world;

#[path = "../support/group.rs"]
mod group;
#[path = "../support/rabbitmq.rs"]
mod rabbitmq;
