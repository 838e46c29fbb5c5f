//! What clients do during a run.

pub mod amqp;
pub mod beats;
pub mod config;
pub mod election;
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

use std::sync::Arc;

use async_trait::async_trait;

use crate::{bed::Bed, stop::Stop};

/// The names of all, in the order in which a soak goes through them.
pub const ALL: &[&str] = &[
    "register", "set", "election", "http", "config", "mutex", "queue", "watch", "sends", "large",
    "streams", "tries", "replies",
];

/// A workload.
#[async_trait]
pub trait Workload: Send + Sync {
    /// What has to be there before the clients begin.
    async fn prepare(&self, _bed: &Arc<Bed>) -> Result<(), String> {
        Ok(())
    }

    /// The clients' work, until it is stopped.
    async fn work(&self, bed: &Arc<Bed>, stop: &Stop);

    /// What is read in the end, once everything is healed.
    async fn finish(&self, _bed: &Arc<Bed>) -> Result<(), String> {
        Ok(())
    }

    /// How many connectors should be active.
    fn connectors(&self) -> usize {
        0
    }

    /// Messages that are still in the broker.
    async fn left(&self, _bed: &Arc<Bed>) -> Option<Vec<String>> {
        None
    }
}

/// The workload of this name.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<Arc<dyn Workload>, String> {
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
        _ => return Err(format!("there is no workload {name:?}; there are {ALL:?}")),
    })
}

/// Whether it needs RabbitMQ.
#[must_use]
pub fn needs_broker(name: &str) -> bool {
    ["mutex", "queue", "streams", "tries", "sends", "replies"].contains(&name)
}
