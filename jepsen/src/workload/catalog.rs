//! Catalog of the workloads by their names.

use std::sync::Arc;

use super::{
    config, contract::Workload, election, error::WorkloadError, http, large, messages, register,
    replies, sends, set, watch,
};

/// The names of all, in the order in which a soak goes through them.
pub const ALL: &[&str] = &[
    "register", "set", "election", "http", "config", "mutex", "queue", "watch", "sends", "large",
    "streams", "tries", "replies",
];

/// The workload of this name.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<Arc<dyn Workload>, WorkloadError> {
    Ok(match name {
        "register" => Arc::new(register::Register::default()),
        "set" => Arc::new(set::Set::default()),
        "election" => Arc::new(election::Election),
        "http" => Arc::new(http::Http::default()),
        "watch" => Arc::new(watch::Watch::default()),
        "config" => Arc::new(config::Config),
        "mutex" => Arc::new(messages::Messages::mutex()),
        "queue" => Arc::new(messages::Messages::queue()),
        "streams" => Arc::new(messages::Messages::streams()),
        "tries" => Arc::new(messages::Messages::tries()),
        "sends" => Arc::new(sends::Sends::default()),
        "replies" => Arc::new(replies::Replies::default()),
        "large" => Arc::new(large::Large::default()),
        _ => {
            return Err(WorkloadError::Unknown {
                name: name.to_owned(),
                known: ALL,
            });
        }
    })
}

/// Whether it needs RabbitMQ.
#[must_use]
pub fn needs_broker(name: &str) -> bool {
    ["mutex", "queue", "streams", "tries", "sends", "replies"].contains(&name)
}
