//! Settings from the parent's JSON, as far as they matter here.

use serde::Deserialize;

/// `ibm_mq_connection`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct MqConnectionSettings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) queue_manager: String,
    pub(super) channel: String,
    #[serde(default)]
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) password: Option<String>,
    #[serde(default)]
    pub(super) ssl: bool,
    #[serde(default)]
    pub(super) ssl_cipher_spec: Option<String>,
    #[serde(default)]
    pub(super) ssl_key_repository: Option<String>,
    pub(super) library: String,
}

/// `ibm_mq_channel`, as far as consuming goes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct MqChannelSettings {
    pub(super) queue: String,
    pub(super) jms: bool,
}

/// `ibm_mq_outgoing`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct MqOutgoingSettings {
    pub(super) queue: String,
    pub(super) jms: bool,
    pub(super) delivery_mode: u8,
    pub(super) priority: u8,
    #[serde(default)]
    pub(super) expiration_ms: Option<u64>,
    #[serde(default)]
    pub(super) ccsid: Option<u16>,
}

impl MqConnectionSettings {
    /// Returns the address as MQ writes it.
    pub(super) fn address(&self) -> String {
        format!("{}({})", self.host, self.port)
    }
}
