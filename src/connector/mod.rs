//! Connectors: one process for each channel, on the connector server only.

pub mod status;
