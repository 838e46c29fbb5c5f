//! Testkit: members and brokers as processes, namespaces, services that note calls, waiting.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]
#![forbid(unsafe_code)]

pub mod balancer;
pub mod cluster;
pub mod durations;
pub mod error_chain;
pub mod event_stream;
pub mod eventually;
pub mod host;
pub mod http;
pub mod machine;
pub mod member;
pub mod netns;
pub mod ports;
pub mod process;
pub mod programs;
pub mod rabbitmq;
pub mod scratch;
pub mod svg;
pub mod takeovers;
pub mod traffic;
pub mod upstream;
