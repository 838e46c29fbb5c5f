//! Outgoing message as a message of MQ.

use std::time::UNIX_EPOCH;

use libmqm_default::MQMD2_DEFAULT;
use libmqm_sys as mq;
use quorate_clock::wall_time;
use quorate_resources::IbmMqOutgoing;
use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_NATIVE, FolderCharset, JmsFolders, JmsMessageClass,
    PropertyValue, Rfh2Error, Rfh2Header,
};

use super::{
    super::broker_link::OutgoingMessage,
    charset::{EncodeError, decode, encode},
    fixed_fields::{id_bytes, padded},
};

const UTF_8: i32 = 1208;
const LATIN_1: i32 = 819;
const STRING: [u8; 8] = *b"MQSTR   ";
const NONE: [u8; 8] = *b"        ";
/// Longest lifetime that MQ counts, in tenths of a second.
const EXPIRY_MAX: u64 = 999_999_999;
/// Properties that a sender may give a message.
const KNOWN: &str = "queue, priority, delivery-mode, expiration-ms, correlation-id, reply-to, type, message-class, group-id, group-sequence";

/// Request to send that IBM MQ could not take.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidMqMessage {
    #[error(
        "headers, type and group-id travel in JMS messages only: set `jms` of the outgoing to true, or leave them out"
    )]
    NotJms,
    #[error("the value of the header {0:?} is not valid UTF-8")]
    HeaderNotUtf8(String),
    #[error("the value of the property {0:?} is not valid UTF-8")]
    PropertyNotUtf8(String),
    #[error("the property {name} is {value:?}; {right}")]
    PropertyValue {
        name: String,
        value: String,
        right: &'static str,
    },
    #[error("IBM MQ has no property {0:?}; those that it has are {known}", known = KNOWN)]
    UnknownProperty(String),
    #[error("the priority is {0}; it is 0 to 9")]
    Priority(u8),
    #[error("the delivery mode is {0}; it is 1 or 2")]
    DeliveryMode(u8),
    #[error(
        "{property} is {value:?}; it is a queue's name or queue://MANAGER/QUEUE, both of at most 48 characters"
    )]
    Address { property: String, value: String },
    #[error("the body is no text")]
    NoText,
    #[error("{0}: choose another `ccsid` of the outgoing, or send application/octet-stream")]
    NotEncodable(EncodeError),
    #[error("the property message-class is {0:?}; it is jms_text or jms_bytes")]
    MessageClass(String),
    #[error(
        "the body is not valid UTF-8, though it is said to be {0:?}: correct the content type, or send application/octet-stream"
    )]
    BodyNotUtf8(String),
    #[error(transparent)]
    Header(#[from] Rfh2Error),
}

/// Queue, and the queue manager that has it; empty for the one that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MqAddress {
    pub manager: String,
    pub queue: String,
}

/// Message that is ready to be put.
pub(crate) struct PreparedPut {
    /// Address, if it is not the outgoing's.
    pub to: Option<MqAddress>,
    pub descriptor: mq::MQMD2,
    /// True if the id in the descriptor is the sender's: the queue manager makes none.
    pub own_id: bool,
    /// Headers and body.
    pub body: Vec<u8>,
}

/// Sender's properties, which override the outgoing's settings.
#[derive(Default)]
struct SenderOverrides {
    to: Option<MqAddress>,
    priority: u8,
    delivery_mode: u8,
    expiration_ms: Option<u64>,
    correlation_id: Option<String>,
    reply_to: Option<String>,
    kind: Option<String>,
    class: Option<String>,
    group_id: Option<String>,
    group_sequence: Option<i32>,
}

/// Builds the message, or returns what is wrong with the request.
pub(super) fn prepare_put(
    message: &OutgoingMessage,
    target: &IbmMqOutgoing,
) -> Result<PreparedPut, InvalidMqMessage> {
    let overrides = SenderOverrides::new(message, target)?;
    let (class, charset) = body_of(message, overrides.class.as_deref())?;
    let (ccsid, own_body) = written(
        message,
        (class == JmsMessageClass::Text).then_some(charset),
        target,
    )?;
    let format = if class == JmsMessageClass::Text {
        STRING
    } else {
        NONE
    };
    let mut descriptor = mq::MQMD2 {
        Encoding: mq::MQENC_NATIVE,
        CodedCharSetId: ccsid,
        Format: format.map(|byte| byte as mq::MQCHAR),
        ..MQMD2_DEFAULT
    };
    let sent_ms = wall_time()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    let mut jms = JmsFolders {
        class: Some(class),
        kind: overrides.kind.clone(),
        destination: Some(match &overrides.to {
            Some(MqAddress { manager, queue }) => format!("queue://{manager}/{queue}"),
            None => format!("queue:///{}", target.queue),
        }),
        timestamp_ms: Some(sent_ms),
        group_id: overrides.group_id.clone(),
        group_sequence: overrides.group_sequence,
        ..JmsFolders::default()
    };
    overrides.describe(&mut descriptor, &mut jms, sent_ms)?;
    let own_id = id_bytes(&message.message_id);
    descriptor.MsgId = own_id.unwrap_or_default();
    if !target.jms {
        if !message.headers.is_empty() || overrides.kind.is_some() || overrides.group_id.is_some() {
            return Err(InvalidMqMessage::NotJms);
        }
        return Ok(PreparedPut {
            to: overrides.to,
            descriptor,
            own_id: own_id.is_some(),
            body: own_body,
        });
    }
    let mut body = jms_header(message, jms, ccsid, format)?;
    body.extend(own_body);
    descriptor.Format = quorate_rfh2::MQHRF2.map(|byte| byte as mq::MQCHAR);
    descriptor.CodedCharSetId = UTF_8;
    Ok(PreparedPut {
        to: overrides.to,
        descriptor,
        own_id: own_id.is_some(),
        body,
    })
}

/// Returns the bytes of the MQRFH2 before the body, with the sender's headers in it.
fn jms_header(
    message: &OutgoingMessage,
    mut jms: JmsFolders,
    ccsid: i32,
    format: [u8; 8],
) -> Result<Vec<u8>, InvalidMqMessage> {
    for header in &message.headers {
        let text = std::str::from_utf8(&header.value)
            .map_err(|_| InvalidMqMessage::HeaderNotUtf8(header.name.clone()))?;
        jms.properties
            .push((header.name.clone(), PropertyValue::Text(text.to_owned())));
    }
    let header = Rfh2Header {
        next: ContentDescriptor {
            encoding: ENCODING_NATIVE,
            ccsid,
            format,
        },
        flags: 0,
        folder_charset: FolderCharset::Utf8,
        folders: jms.write()?,
    };
    let order = ByteOrder::from_encoding(ENCODING_NATIVE)?;
    Ok(header.write(order)?)
}

impl SenderOverrides {
    fn new(message: &OutgoingMessage, target: &IbmMqOutgoing) -> Result<Self, InvalidMqMessage> {
        let mut overrides = SenderOverrides {
            priority: target.priority,
            delivery_mode: target.delivery_mode,
            expiration_ms: target.expiration_ms,
            ..SenderOverrides::default()
        };
        for property in &message.properties {
            let name = property.name.as_str();
            let value = std::str::from_utf8(&property.value)
                .map_err(|_| InvalidMqMessage::PropertyNotUtf8(name.to_owned()))?;
            let text = Some(value.to_owned());
            let bad = |right: &'static str| InvalidMqMessage::PropertyValue {
                name: name.to_owned(),
                value: value.to_owned(),
                right,
            };
            match name {
                "queue" => overrides.to = Some(address(name, value)?),
                "correlation-id" => overrides.correlation_id = text,
                "reply-to" => overrides.reply_to = text,
                "type" => overrides.kind = text,
                "message-class" => overrides.class = text,
                "group-id" => overrides.group_id = text,
                "group-sequence" => {
                    overrides.group_sequence =
                        Some(value.parse().map_err(|_| bad("it is a whole number"))?);
                }
                "priority" => {
                    overrides.priority = value.parse().map_err(|_| bad("it is 0 to 9"))?
                }
                "delivery-mode" => {
                    overrides.delivery_mode = value.parse().map_err(|_| bad("it is 1 or 2"))?;
                }
                "expiration-ms" => {
                    overrides.expiration_ms = Some(
                        value
                            .parse()
                            .map_err(|_| bad("it is a number of milliseconds"))?,
                    );
                }
                other => {
                    return Err(InvalidMqMessage::UnknownProperty(other.to_owned()));
                }
            }
        }
        Ok(overrides)
    }

    fn describe(
        &self,
        descriptor: &mut mq::MQMD2,
        jms: &mut JmsFolders,
        sent_ms: i64,
    ) -> Result<(), InvalidMqMessage> {
        let priority = self.priority;
        if priority > 9 {
            return Err(InvalidMqMessage::Priority(priority));
        }
        descriptor.Priority = priority.into();
        jms.priority = Some(priority.into());
        match self.delivery_mode {
            1 => descriptor.Persistence = mq::MQPER_NOT_PERSISTENT,
            2 => descriptor.Persistence = mq::MQPER_PERSISTENT,
            other => return Err(InvalidMqMessage::DeliveryMode(other)),
        }
        jms.delivery_mode = Some(self.delivery_mode.into());
        if let Some(ms) = self.expiration_ms {
            let tenths = ms.div_ceil(100).clamp(1, EXPIRY_MAX);
            descriptor.Expiry = i32::try_from(tenths).unwrap_or(i32::MAX);
            jms.expiration_ms = i64::try_from(ms)
                .ok()
                .and_then(|ms| sent_ms.checked_add(ms));
        }
        if let Some(correlation) = &self.correlation_id {
            match id_bytes(correlation) {
                Some(id) => descriptor.CorrelId = id,
                // As IBM's JMS does: the beginning of the id in the descriptor, the whole in the
                // folder.
                None => {
                    for (to, byte) in descriptor.CorrelId.iter_mut().zip(correlation.bytes()) {
                        *to = byte;
                    }
                    jms.correlation_id = Some(correlation.clone());
                }
            }
        }
        if let Some(reply_to) = &self.reply_to {
            let MqAddress { manager, queue } = address("reply-to", reply_to)?;
            // As IBM's JMS does; programs that answer look at it.
            descriptor.MsgType = mq::MQMT_REQUEST;
            descriptor.ReplyToQMgr = padded(&manager);
            descriptor.ReplyToQ = padded(&queue);
            jms.reply_to = Some(format!("queue://{manager}/{queue}"));
        }
        Ok(())
    }
}

/// Returns the address in a property: `queue://MANAGER/QUEUE`, without a manager too, or a queue's
/// name alone. A `reply-to` that came with a message is such an address.
fn address(property: &str, value: &str) -> Result<MqAddress, InvalidMqMessage> {
    let (manager, queue) = match value.strip_prefix("queue://") {
        Some(rest) => rest.split_once('/').unwrap_or(("", rest)),
        None => ("", value),
    };
    let queue = queue.split('?').next().unwrap_or_default();
    if queue.is_empty() || queue.len() > 48 || manager.len() > 48 {
        return Err(InvalidMqMessage::Address {
            property: property.to_owned(),
            value: value.to_owned(),
        });
    }
    Ok(MqAddress {
        manager: manager.to_owned(),
        queue: queue.to_owned(),
    })
}

/// Returns the body, if it is a text, in the character set that the outgoing asks for.
fn written(
    message: &OutgoingMessage,
    charset: Option<i32>,
    target: &IbmMqOutgoing,
) -> Result<(i32, Vec<u8>), InvalidMqMessage> {
    let (Some(charset), Some(wanted)) = (charset, target.ccsid) else {
        return Ok((charset.unwrap_or(0), message.body.to_vec()));
    };
    let wanted = i32::from(wanted);
    let text = decode(&message.body, charset, ENCODING_NATIVE).ok_or(InvalidMqMessage::NoText)?;
    let body = encode(&text, wanted, ENCODING_NATIVE).map_err(InvalidMqMessage::NotEncodable)?;
    Ok((wanted, body))
}

/// Returns the message class of the body and its character set.
fn body_of(
    message: &OutgoingMessage,
    class: Option<&str>,
) -> Result<(JmsMessageClass, i32), InvalidMqMessage> {
    let content_type = message.content_type.to_ascii_lowercase();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let textual = match class {
        Some("jms_text") => true,
        Some("jms_bytes") => false,
        Some(other) => {
            return Err(InvalidMqMessage::MessageClass(other.to_owned()));
        }
        None => {
            kind.starts_with("text/")
                || matches!(
                    kind,
                    "" | "application/json"
                        | "application/xml"
                        | "application/x-www-form-urlencoded"
                )
                || kind.ends_with("+json")
                || kind.ends_with("+xml")
        }
    };
    let utf_8 = std::str::from_utf8(&message.body).is_ok();
    let charset = content_type
        .split_once("charset=")
        .map_or("", |(_, rest)| rest.split(';').next().unwrap_or_default())
        .trim_matches([' ', '"']);
    match (textual, charset) {
        (false, _) => Ok((JmsMessageClass::Bytes, 0)),
        (true, "iso-8859-1" | "latin1") => Ok((JmsMessageClass::Text, LATIN_1)),
        (true, "" | "utf-8" | "us-ascii") if utf_8 => Ok((JmsMessageClass::Text, UTF_8)),
        (true, "") if kind.is_empty() => Ok((JmsMessageClass::Bytes, 0)),
        (true, "" | "utf-8" | "us-ascii") => {
            Err(InvalidMqMessage::BodyNotUtf8(message.content_type.clone()))
        }
        (true, _) => Ok((JmsMessageClass::Bytes, 0)),
    }
}
