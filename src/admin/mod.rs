//! The admin face: REST, health and metrics. Errors are problem+json with a `code`.

pub mod config;
pub mod kv;
pub mod problem;
mod revision;
