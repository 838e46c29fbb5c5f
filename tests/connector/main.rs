//! Connectors with real processes and a real RabbitMQ. Consensus is simulated: leadership
//! and state are watches that the tests move.

mod conditions;
mod failures;
mod figures;
mod flow;
mod garbage;
mod leases;
mod management;
mod processes;
mod quorum;
mod reigns;
mod standby;
mod tls;
mod troubles;
mod world;

#[path = "../support/group.rs"]
mod group;
#[path = "../support/rabbitmq.rs"]
mod rabbitmq;
