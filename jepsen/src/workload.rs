//! Workloads: what clients do during a run.

pub mod amqp;
pub mod background_writes;
pub mod catalog;
pub mod config;
pub mod contract;
pub mod election;
pub mod error;
pub mod http;
pub mod large_values;
pub mod messages;
pub mod register;
pub mod replies;
pub mod sends;
pub mod service_sink;
pub mod set;
pub mod stream_watcher;
pub mod watch;
pub mod workload_client;

pub use catalog::{ALL, named, needs_broker};
pub use contract::Workload;
