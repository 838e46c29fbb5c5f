//! The chaos harness: workloads, nemeses, checkers and reports. Empty so far; the
//! crate stands here so that the harness finds its place without moving walls.
#![forbid(unsafe_code)]

pub mod history;
