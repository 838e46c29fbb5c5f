//! Catalog of the workloads by their names.

use std::sync::Arc;

use super::{
    config, contract::Workload, election, error::WorkloadError, http, large_values, messages,
    register, replies, sends, set, watch,
};

/// Names of all workloads, in the order in which a soak goes through them.
pub const ALL: &[&str] = &[
    "register", "set", "election", "http", "config", "mutex", "queue", "watch", "sends", "large",
    "streams", "tries", "replies",
];

/// Returns the workload of this name.
pub fn named(name: &str) -> Result<Arc<dyn Workload>, WorkloadError> {
    Ok(match name {
        "register" => Arc::new(register::RegisterWorkload::default()),
        "set" => Arc::new(set::SetWorkload::default()),
        "election" => Arc::new(election::ElectionWorkload),
        "http" => Arc::new(http::HttpWorkload::default()),
        "watch" => Arc::new(watch::WatchWorkload::default()),
        "config" => Arc::new(config::ConfigWorkload),
        "mutex" => Arc::new(messages::MessagesWorkload::mutex()),
        "queue" => Arc::new(messages::MessagesWorkload::queue()),
        "streams" => Arc::new(messages::MessagesWorkload::streams()),
        "tries" => Arc::new(messages::MessagesWorkload::tries()),
        "sends" => Arc::new(sends::SendsWorkload::default()),
        "replies" => Arc::new(replies::RepliesWorkload::default()),
        "large" => Arc::new(large_values::LargeWorkload::default()),
        _ => {
            return Err(WorkloadError::Unknown {
                name: name.to_owned(),
                known: ALL,
            });
        }
    })
}

/// Returns whether the workload of this name needs RabbitMQ.
pub fn needs_broker(name: &str) -> bool {
    ["mutex", "queue", "streams", "tries", "sends", "replies"].contains(&name)
}
