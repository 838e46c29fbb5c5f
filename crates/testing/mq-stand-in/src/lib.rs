//! A stand-in for IBM MQ, for tests. It is not IBM MQ, holds nothing of IBM's and never says
//! that it is: what it shows is how our side behaves, not how IBM's does.
//!
//! - [`abi`]: a shared library with the C ABI of all verbs of MQI; those that it doesn't do
//!   answer 2298, MQRC_FUNCTION_NOT_SUPPORTED.
//! - [`manager`]: a small queue manager that the library talks to over loopback: queues with
//!   priorities, units of work, backout counts, exclusive opens, browsing, expiry, reports,
//!   queues made of models, and a journal that persistent messages survive a restart by. It
//!   can be told to fail: see [`wire::Order`].
//! - [`control`]: what a test asks of the queue manager beside the library.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for tests, which may end where nobody reads what it says"
)]
#![deny(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it stands for a program of others, which has a clock of its own"
)]

pub mod abi;
mod client;
pub mod control;
mod conversation;
mod convert;
pub mod descriptor;
mod journal;
pub mod manager;
mod matching;
mod options;
pub mod order;
mod properties;
mod put_time;
mod queue;
mod report;
mod shared;
mod store;
pub mod wire;
