//! AMQP: `amqp_connection`, `amqp_channel` and `amqp_outgoing`.

mod channel;
mod connection;
mod outgoing;

pub use channel::AmqpChannel;
pub use connection::{AmqpConnection, BrokerFence};
pub use outgoing::AmqpOutgoing;
