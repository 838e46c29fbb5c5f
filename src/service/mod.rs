//! Services: what handles requests and messages, here or on another member.

pub mod api;
