//! Services, which handle requests and messages, here or on another member.
//!
//! A program registers its own with [`Services::new`]; the catalog names others, `upstream` ones
//! reached over HTTP and `builtin` ones that programs carry in code. [`Services`] runs a service on
//! this member; [`ServiceDispatcher`] on a live member that carries it.

#![warn(unreachable_pub)]

pub mod api;
mod authorities;
mod builtin;
pub(crate) mod call_limiter;
pub(crate) mod derived_view;
pub mod dispatch;
pub mod headers;
pub mod http;
mod invoke;
pub mod message_error;
pub mod message_headers;
pub mod message_parsing;
pub mod params;
mod prefixed_body;
mod registry;
pub(crate) mod service_answer;
pub(crate) mod stream_options;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod upload;
mod upstream;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use api::{MayRun, Message, Origin, Reply, Request, Service, ServiceDispatch, ServiceError};
pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use dispatch::{InvokeServer, ServiceDispatcher};
pub use params::Params;
pub use registry::{OpenState, ServiceHost, Services};
