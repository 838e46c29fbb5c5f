//! The replicated state: pure and deterministic. No tokio, no I/O, no clock.

pub mod resource;
