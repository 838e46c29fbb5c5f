//! Short strings, of which AMQP allows 255 bytes.

use lapin::types::ShortString;

use super::super::broker_link::ConnectorError;

/// Returns the short string, or an error that names `what`.
pub(super) fn short(text: &str, what: &str) -> Result<ShortString, ConnectorError> {
    ShortString::try_new(text).map_err(|_| {
        ConnectorError::new(format!(
            "{what} is {} bytes long; AMQP allows 255",
            text.len()
        ))
    })
}
