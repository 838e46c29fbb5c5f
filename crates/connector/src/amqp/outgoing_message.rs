//! Outgoing message as an AMQP message: the outgoing's settings, unless the message overrides them.

use std::{collections::BTreeMap, ops::RangeInclusive, time::UNIX_EPOCH};

use lapin::{
    BasicProperties,
    types::{FieldTable, ShortString},
};
use quorate_clock::wall_time;
use quorate_proto::connector::{Header, HeaderType};
use quorate_resources::AmqpOutgoing;

use super::{
    super::broker_link::OutgoingMessage,
    header_value::{self, InvalidValue},
    publisher::PublishRequest,
    returned_message::DELAY,
    stream,
};

/// Header with the CID of the call that the message was sent in.
const CID: &str = "x-quorate-cid";

/// Request to send that the broker could not take.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidAmqpMessage {
    #[error(
        "`queue` and `{0}` exclude each other: a queue is reached through the default exchange by its name"
    )]
    QueueAndAddress(&'static str),
    #[error("`user-id` is {given:?}: the broker takes only the user of the connection, {user:?}")]
    OtherUser { given: String, user: String },
    #[error("`{name}` is {bytes} bytes long; AMQP allows 255")]
    TooLong { name: String, bytes: usize },
    #[error("the header `{name}` {problem}")]
    HeaderValue { name: String, problem: InvalidValue },
    #[error("a header's name is {0} bytes long; AMQP allows 255")]
    HeaderName(usize),
    #[error("the property `{0}` must be UTF-8")]
    NotUtf8(String),
    #[error("the property `{0}` is given twice")]
    GivenTwice(String),
    #[error(
        "the property `{name}` is {text:?}: it must be a number from {} to {}",
        .within.start(),
        .within.end()
    )]
    NotInRange {
        name: String,
        text: String,
        within: RangeInclusive<u64>,
    },
    #[error(
        "AMQP has no property `{0}`; it has exchange, routing-key, queue, priority, delivery-mode, expiration-ms, correlation-id, reply-to, type, app-id, content-encoding, timestamp, user-id and cluster-id"
    )]
    UnknownProperty(String),
}

/// Builds the publish request of `message`, with this id; or returns which of its properties is
/// wrong and what would be right. `user` is the connection's: the broker takes no other `user-id`.
pub(super) fn publish_request(
    of: &AmqpOutgoing,
    message: &OutgoingMessage,
    id: &str,
    user: &str,
) -> Result<PublishRequest, InvalidAmqpMessage> {
    let mut given = GivenProperties::read(&message.properties)?;
    let (exchange, routing_key) = given.address(of)?;
    let properties = basic_properties(&mut given, of, message, id, user)?;
    given.none_is_left()?;
    Ok(PublishRequest {
        exchange,
        routing_key,
        properties,
        body: message.body.clone(),
        mandatory: of.mandatory,
    })
}

fn basic_properties(
    given: &mut GivenProperties<'_>,
    of: &AmqpOutgoing,
    message: &OutgoingMessage,
    id: &str,
    user: &str,
) -> Result<BasicProperties, InvalidAmqpMessage> {
    let user_id = given.text("user-id")?;
    if let Some(other) = user_id.as_ref().filter(|other| other.as_str() != user) {
        return Err(InvalidAmqpMessage::OtherUser {
            given: other.as_str().to_owned(),
            user: user.to_owned(),
        });
    }
    let content_type = match message.content_type.as_str() {
        "" => of.content_type.as_deref(),
        given_type => Some(given_type),
    };
    let since_1970 = wall_time().duration_since(UNIX_EPOCH);
    let now = since_1970.map_or(0, |since| since.as_secs());
    let expiration = given
        .number("expiration-ms", 0..=u64::from(u32::MAX))?
        .or(of.expiration_ms);
    let delivery_mode = given.number("delivery-mode", 1..=2)?;
    let priority = given.number("priority", 0..=255)?;

    let mut to = BasicProperties::default()
        .with_message_id(short("message-id", id)?)
        .with_delivery_mode(delivery_mode.map_or(of.delivery_mode, narrow))
        .with_priority(priority.map_or(of.priority, narrow))
        .with_timestamp(given.number("timestamp", 0..=u64::MAX)?.unwrap_or(now))
        .with_headers(headers(&message.headers, &message.types, &message.cid)?);
    let mut set = |value: Option<ShortString>,
                   with: fn(BasicProperties, ShortString) -> BasicProperties| {
        if let Some(value) = value {
            to = with(std::mem::take(&mut to), value);
        }
    };
    let content_type = content_type
        .map(|it| short("content-type", it))
        .transpose()?;
    set(content_type, BasicProperties::with_content_type);
    set(
        given.text_or("content-encoding", of.content_encoding.as_deref())?,
        BasicProperties::with_content_encoding,
    );
    set(
        given.text_or("app-id", of.app_id.as_deref())?,
        BasicProperties::with_app_id,
    );
    set(
        given.text("correlation-id")?,
        BasicProperties::with_correlation_id,
    );
    set(given.text("reply-to")?, BasicProperties::with_reply_to);
    set(given.text("type")?, BasicProperties::with_type);
    set(
        expiration.map(|ms| ms.to_string().into()),
        BasicProperties::with_expiration,
    );
    set(user_id, BasicProperties::with_user_id);
    set(given.text("cluster-id")?, BasicProperties::with_cluster_id);
    Ok(to)
}

/// Narrows a number whose range was checked.
fn narrow(n: u64) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

fn short(name: &str, text: &str) -> Result<ShortString, InvalidAmqpMessage> {
    ShortString::try_new(text).map_err(|_| InvalidAmqpMessage::TooLong {
        name: name.to_owned(),
        bytes: text.len(),
    })
}

/// Returns each header once: several values of one name are joined, as HTTP has it.
fn headers(
    given: &[Header],
    types: &[HeaderType],
    cid: &str,
) -> Result<FieldTable, InvalidAmqpMessage> {
    let types: BTreeMap<&str, &str> = types
        .iter()
        .map(|it| (it.name.as_str(), it.kind.as_str()))
        .collect();
    let mut joined: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    // The offset of a message in a stream is not true of it in another one.
    let given = given.iter().filter(|it| it.name != stream::OFFSET);
    for Header { name, value } in given {
        joined
            .entry(name)
            .and_modify(|values| values.extend([b", ", &**value].concat()))
            .or_insert_with(|| value.to_vec());
    }
    joined.insert(CID, cid.into());
    let mut table = BTreeMap::new();
    for (name, value) in joined {
        let kind = types.get(name).copied().unwrap_or_default();
        let value = match header_value::from_text("long", &value) {
            // A delayed exchange takes no text for this.
            Ok(delay) if name == DELAY && kind.is_empty() => delay,
            _ => header_value::from_text(kind, &value).map_err(|problem| {
                InvalidAmqpMessage::HeaderValue {
                    name: name.to_owned(),
                    problem,
                }
            })?,
        };
        let name =
            ShortString::try_new(name).map_err(|_| InvalidAmqpMessage::HeaderName(name.len()))?;
        table.insert(name, value);
    }
    Ok(FieldTable::from(table))
}

/// Properties that a message has; those that are used are taken out.
struct GivenProperties<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> GivenProperties<'a> {
    /// Returns the exchange and the routing key.
    fn address(
        &mut self,
        of: &AmqpOutgoing,
    ) -> Result<(ShortString, ShortString), InvalidAmqpMessage> {
        match self.text("queue")? {
            Some(queue) => {
                for name in ["exchange", "routing-key"] {
                    if self.take(name).is_some() {
                        return Err(InvalidAmqpMessage::QueueAndAddress(name));
                    }
                }
                Ok((ShortString::default(), queue))
            }
            None => Ok((
                self.text_or("exchange", Some(&of.exchange))?
                    .unwrap_or_default(),
                self.text_or("routing-key", Some(&of.routing_key))?
                    .unwrap_or_default(),
            )),
        }
    }

    fn read(properties: &'a [Header]) -> Result<Self, InvalidAmqpMessage> {
        let mut given = BTreeMap::new();
        for Header { name, value } in properties {
            let value = std::str::from_utf8(value)
                .map_err(|_| InvalidAmqpMessage::NotUtf8(name.clone()))?;
            if given.insert(name.as_str(), value).is_some() {
                return Err(InvalidAmqpMessage::GivenTwice(name.clone()));
            }
        }
        Ok(GivenProperties(given))
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<ShortString>, InvalidAmqpMessage> {
        self.text_or(name, None)
    }

    fn text_or(
        &mut self,
        name: &str,
        or: Option<&str>,
    ) -> Result<Option<ShortString>, InvalidAmqpMessage> {
        let text = self.take(name).or(or);
        text.map(|text| short(name, text)).transpose()
    }

    fn number(
        &mut self,
        name: &str,
        within: RangeInclusive<u64>,
    ) -> Result<Option<u64>, InvalidAmqpMessage> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|n| within.contains(n));
        number
            .map(Some)
            .ok_or_else(|| InvalidAmqpMessage::NotInRange {
                name: name.to_owned(),
                text: text.to_owned(),
                within,
            })
    }

    fn none_is_left(&self) -> Result<(), InvalidAmqpMessage> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(InvalidAmqpMessage::UnknownProperty((*name).to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
