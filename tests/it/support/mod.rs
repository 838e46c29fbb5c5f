//! What the tests share: members as processes, HTTP calls, waiting for conditions.

#[path = "../../support/netns.rs"]
pub mod netns;
#[path = "../../support/rabbitmq.rs"]
pub mod rabbitmq;

pub mod broker_watch;
pub mod cluster;
pub mod front;
pub mod http;
pub mod member;
pub mod ports;
pub mod stream;
pub mod takeovers;
pub mod traffic;
pub mod upstream;
pub mod wait;
