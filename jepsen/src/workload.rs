//! The workloads: what clients do during a run.

pub mod amqp;
pub mod beats;
pub mod catalog;
pub mod config;
pub mod contract;
pub mod election;
pub mod error;
pub mod http;
pub mod large;
pub mod messages;
pub mod pace;
pub mod register;
pub mod replies;
pub mod sends;
pub mod set;
pub mod sink;
pub mod stream;
pub mod watch;

pub use catalog::{ALL, named, needs_broker};
pub use contract::Workload;
