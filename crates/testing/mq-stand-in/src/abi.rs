//! The shared library: every verb of MQI with MQI's C ABI.
//!
//! What messages need is done, the rest is refused ([`unsupported`]). A verb answers with a
//! completion code and a reason, as MQI's do. What is passed is trusted as far as MQI trusts
//! it: pointers are valid, buffers as long as they are said to be, and structures as long as
//! those of their version ([`structure`]).
#![allow(non_snake_case, unsafe_code)]

mod connect;
mod handles;
mod inquire;
mod memory;
mod messages;
mod objects;
mod probe;
mod structure;
mod units;
mod unsupported;

pub use connect::{MQCONN, MQCONNX, MQDISC};
pub use inquire::MQINQ;
pub use messages::{MQGET, MQPUT, MQPUT1};
pub use objects::{MQCLOSE, MQOPEN};
pub use units::{MQBACK, MQCMIT};
pub use unsupported::*;
