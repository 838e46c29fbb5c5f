//! Services: what handles requests and messages, here or on another member.
//!
//! A program registers its own with [`Services::new`]; the catalog names others, `upstream`
//! ones reached over HTTP and `builtin` ones that programs carry in code. [`Services`] runs a
//! service on this member; [`Dispatcher`] on a live member that carries it.

pub(crate) mod answer;
pub mod api;
mod builtin;
mod causes;
pub mod dispatch;
pub(crate) mod flow;
pub(crate) mod follow;
pub mod headers;
pub mod http;
mod invoke;
pub mod message_headers;
pub mod params;
pub(crate) mod places;
mod registry;
pub mod sending;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod upload;
mod upstream;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use api::{Dispatch, Message, Origin, Permit, Reply, Request, Service, ServiceError};
pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use dispatch::{Dispatcher, InvokeServer};
pub use params::Params;
pub use registry::{Carrier, Services};
