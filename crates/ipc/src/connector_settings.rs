//! Settings of a connector, as its member builds them and its process reads them.
//!
//! The declared resources cross the boundary as they are, so a field stands in its declaration
//! alone; a field that this program does not know is refused on both sides.

use quorate_resources::{
    AmqpChannel, AmqpConnection, AmqpOutgoing, DeliveryPolicy, IbmMqChannel, IbmMqConnection,
    IbmMqOutgoing, ZmqChannel, ZmqOutgoing,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Part of the settings, which crosses the boundary to the process.
pub trait SettingsPart: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync {}

impl<T: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync> SettingsPart for T {}

/// Resource that has a connector: a channel or an outgoing.
pub trait ConnectorResource: SettingsPart {
    /// Resource that leads to its broker; `()` where there is none.
    type Connection: SettingsPart;
    /// Settings that mean the same for every kind of broker.
    type Shared: SettingsPart;
}

/// Settings that mean the same for every kind of channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverySettings {
    /// Upper bound of unsettled messages.
    pub prefetch: u16,
    /// Upper bound of messages that are with the service.
    pub concurrency_max: u16,
    /// True if each message is settled before the next is handed on.
    pub ordered: bool,
    /// Policy for messages that were not handled.
    pub on_failure: DeliveryPolicy,
}

/// Settings that mean the same for every kind of outgoing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendSettings {
    /// Upper bound of messages whose outcome is awaited.
    pub concurrency_max: u16,
}

macro_rules! connectors {
    ($($resource:ident: $connection:ty, $shared:ident;)+) => {$(
        impl ConnectorResource for $resource {
            type Connection = $connection;
            type Shared = $shared;
        }
    )+};
}

connectors! {
    AmqpChannel: AmqpConnection, DeliverySettings;
    AmqpOutgoing: AmqpConnection, SendSettings;
    IbmMqChannel: IbmMqConnection, DeliverySettings;
    IbmMqOutgoing: IbmMqConnection, SendSettings;
    ZmqChannel: (), DeliverySettings;
    ZmqOutgoing: (), SendSettings;
}

/// Settings of the connector of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "", deny_unknown_fields)]
pub struct ConnectorSettings<R: ConnectorResource> {
    /// How its broker is reached.
    pub connection: R::Connection,
    /// Source to consume, or target to send to.
    pub resource: R,
    /// Settings that every kind of broker has.
    pub shared: R::Shared,
}

impl<R: ConnectorResource> ConnectorSettings<R> {
    /// Returns the settings as they stand in a frame. Equal settings give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("invariant: settings are maps with text keys")
    }

    /// Reads the settings from a frame.
    pub fn decode(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings() -> ConnectorSettings<AmqpOutgoing> {
        let connection =
            json!({"name": "broker", "host": "h", "username": "u", "password": "hunter2"});
        let resource = json!({"name": "orders", "connection": "broker", "exchange": "shop"});
        ConnectorSettings {
            connection: serde_json::from_value(connection).unwrap(),
            resource: serde_json::from_value(resource).unwrap(),
            shared: SendSettings { concurrency_max: 7 },
        }
    }

    #[test]
    fn settings_cross_the_boundary_with_their_secret_and_show_none() {
        let settings = settings();
        let read = ConnectorSettings::decode(&settings.encode()).unwrap();
        assert_eq!(settings, read);
        assert_eq!(read.connection.password.as_deref(), Some("hunter2"));
        assert!(!format!("{read:?}").contains("hunter2"));
    }

    #[test]
    fn field_that_is_not_known_is_refused() {
        let encoded: Value = serde_json::from_slice(&settings().encode()).unwrap();
        for place in ["", "/connection", "/resource", "/shared"] {
            let mut other = encoded.clone();
            other.pointer_mut(place).unwrap()["newer"] = 1.into();
            let bytes = other.to_string();
            let refused = ConnectorSettings::<AmqpOutgoing>::decode(bytes.as_bytes()).unwrap_err();
            assert!(refused.to_string().contains("newer"), "{refused}");
        }
    }
}
