//! What is sent, as a message of MQ.

use std::time::UNIX_EPOCH;

use libmqm_default::MQMD2_DEFAULT;
use libmqm_sys as mq;
use quorate_clock::wall_time;
use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_NATIVE, FolderCharset, JmsFolders, JmsMessageClass,
    PropertyValue, Rfh2Header,
};

use super::{
    super::broker_link::OutgoingMessage,
    charset::{decode, encode},
    fixed_fields::{id_bytes, padded},
    settings::MqOutgoingSettings,
};

const UTF_8: i32 = 1208;
const LATIN_1: i32 = 819;
const STRING: [u8; 8] = *b"MQSTR   ";
const NONE: [u8; 8] = *b"        ";
/// The longest lifetime that MQ counts, in tenths of a second.
const EXPIRY_MAX: u64 = 999_999_999;
/// What a sender may say of a message.
const KNOWN: &str = "queue, priority, delivery-mode, expiration-ms, correlation-id, reply-to, type, message-class, group-id, group-sequence";

/// A queue, and the queue manager that has it; empty for the one that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqAddress {
    /// The queue manager.
    pub manager: String,
    /// The queue.
    pub queue: String,
}

/// A message, ready to be put.
pub struct PreparedPut {
    /// Where to, if not where the outgoing says.
    pub to: Option<MqAddress>,
    /// Its descriptor.
    pub descriptor: mq::MQMD2,
    /// The id in the descriptor is the sender's: the queue manager makes none.
    pub own_id: bool,
    /// Headers and body.
    pub body: Vec<u8>,
}

/// What the sender said, over what the outgoing says.
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

/// Makes it, or says what is wrong with what was asked.
pub fn prepare_put(
    parcel: &OutgoingMessage,
    target: &MqOutgoingSettings,
) -> Result<PreparedPut, String> {
    let wishes = SenderOverrides::new(parcel, target)?;
    let (class, said) = body_of(parcel, wishes.class.as_deref())?;
    let (ccsid, own_body) = written(
        parcel,
        (class == JmsMessageClass::Text).then_some(said),
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
        kind: wishes.kind.clone(),
        destination: Some(match &wishes.to {
            Some(MqAddress { manager, queue }) => format!("queue://{manager}/{queue}"),
            None => format!("queue:///{}", target.queue),
        }),
        timestamp_ms: Some(sent_ms),
        group_id: wishes.group_id.clone(),
        group_sequence: wishes.group_sequence,
        ..JmsFolders::default()
    };
    wishes.describe(&mut descriptor, &mut jms, sent_ms)?;
    let own_id = id_bytes(&parcel.message_id);
    descriptor.MsgId = own_id.unwrap_or_default();
    if !target.jms {
        if !parcel.headers.is_empty() || wishes.kind.is_some() || wishes.group_id.is_some() {
            return Err("headers, type and group-id travel in JMS messages only: set `jms` of the outgoing to true, or leave them out".to_owned());
        }
        return Ok(PreparedPut {
            to: wishes.to,
            descriptor,
            own_id: own_id.is_some(),
            body: own_body,
        });
    }
    for header in &parcel.headers {
        let text = std::str::from_utf8(&header.value).map_err(|_| {
            format!(
                "the value of the header {:?} is not valid UTF-8",
                header.name
            )
        })?;
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
        folders: jms.write().map_err(|error| error.to_string())?,
    };
    let endian = ByteOrder::from_encoding(ENCODING_NATIVE).map_err(|error| error.to_string())?;
    let mut body = header.write(endian).map_err(|error| error.to_string())?;
    body.extend(own_body);
    descriptor.Format = quorate_rfh2::MQHRF2.map(|byte| byte as mq::MQCHAR);
    descriptor.CodedCharSetId = UTF_8;
    Ok(PreparedPut {
        to: wishes.to,
        descriptor,
        own_id: own_id.is_some(),
        body,
    })
}

impl SenderOverrides {
    fn new(parcel: &OutgoingMessage, target: &MqOutgoingSettings) -> Result<Self, String> {
        let mut wishes = SenderOverrides {
            priority: target.priority,
            delivery_mode: target.delivery_mode,
            expiration_ms: target.expiration_ms,
            ..SenderOverrides::default()
        };
        for property in &parcel.properties {
            let name = property.name.as_str();
            let value = std::str::from_utf8(&property.value)
                .map_err(|_| format!("the value of the property {name:?} is not valid UTF-8"))?;
            let text = Some(value.to_owned());
            let bad = |right: &str| format!("the property {name} is {value:?}; {right}");
            match name {
                "queue" => wishes.to = Some(address(name, value)?),
                "correlation-id" => wishes.correlation_id = text,
                "reply-to" => wishes.reply_to = text,
                "type" => wishes.kind = text,
                "message-class" => wishes.class = text,
                "group-id" => wishes.group_id = text,
                "group-sequence" => {
                    wishes.group_sequence =
                        Some(value.parse().map_err(|_| bad("it is a whole number"))?);
                }
                "priority" => wishes.priority = value.parse().map_err(|_| bad("it is 0 to 9"))?,
                "delivery-mode" => {
                    wishes.delivery_mode = value.parse().map_err(|_| bad("it is 1 or 2"))?;
                }
                "expiration-ms" => {
                    wishes.expiration_ms = Some(
                        value
                            .parse()
                            .map_err(|_| bad("it is a number of milliseconds"))?,
                    );
                }
                other => {
                    return Err(format!(
                        "IBM MQ has no property {other:?}; those that it has are {KNOWN}"
                    ));
                }
            }
        }
        Ok(wishes)
    }

    fn describe(
        &self,
        descriptor: &mut mq::MQMD2,
        jms: &mut JmsFolders,
        sent_ms: i64,
    ) -> Result<(), String> {
        let priority = self.priority;
        if priority > 9 {
            return Err(format!("the priority is {priority}; it is 0 to 9"));
        }
        descriptor.Priority = priority.into();
        jms.priority = Some(priority.into());
        match self.delivery_mode {
            1 => descriptor.Persistence = mq::MQPER_NOT_PERSISTENT,
            2 => descriptor.Persistence = mq::MQPER_PERSISTENT,
            other => return Err(format!("the delivery mode is {other}; it is 1 or 2")),
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
                // As IBM's JMS does: the beginning of it in the descriptor, whole in the
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

/// The address of a property: `queue://MANAGER/QUEUE`, without a manager too, or a queue's
/// name alone. A `reply-to` that came with a message is one.
fn address(property: &str, value: &str) -> Result<MqAddress, String> {
    let (manager, queue) = match value.strip_prefix("queue://") {
        Some(rest) => rest.split_once('/').unwrap_or(("", rest)),
        None => ("", value),
    };
    let queue = queue.split('?').next().unwrap_or_default();
    if queue.is_empty() || queue.len() > 48 || manager.len() > 48 {
        return Err(format!(
            "{property} is {value:?}; it is a queue's name or queue://MANAGER/QUEUE, both of at most 48 characters"
        ));
    }
    Ok(MqAddress {
        manager: manager.to_owned(),
        queue: queue.to_owned(),
    })
}

/// The body in the character set that the outgoing asks for, if it is a text, of `said`.
fn written(
    parcel: &OutgoingMessage,
    said: Option<i32>,
    target: &MqOutgoingSettings,
) -> Result<(i32, Vec<u8>), String> {
    let (Some(said), Some(wanted)) = (said, target.ccsid) else {
        return Ok((said.unwrap_or(0), parcel.body.to_vec()));
    };
    let wanted = i32::from(wanted);
    let text = decode(&parcel.body, said, ENCODING_NATIVE).ok_or("the body is no text")?;
    let body = encode(&text, wanted, ENCODING_NATIVE).map_err(|lacks| {
        format!("{lacks}: choose another `ccsid` of the outgoing, or send application/octet-stream")
    })?;
    Ok((wanted, body))
}

/// Whether it is a text, and in which character set.
fn body_of(
    parcel: &OutgoingMessage,
    class: Option<&str>,
) -> Result<(JmsMessageClass, i32), String> {
    let content_type = parcel.content_type.to_ascii_lowercase();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let textual = match class {
        Some("jms_text") => true,
        Some("jms_bytes") => false,
        Some(other) => {
            return Err(format!(
                "the property message-class is {other:?}; it is jms_text or jms_bytes"
            ));
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
    let utf_8 = std::str::from_utf8(&parcel.body).is_ok();
    let charset = content_type
        .split_once("charset=")
        .map_or("", |(_, rest)| rest.split(';').next().unwrap_or_default())
        .trim_matches([' ', '"']);
    match (textual, charset) {
        (false, _) => Ok((JmsMessageClass::Bytes, 0)),
        (true, "iso-8859-1" | "latin1") => Ok((JmsMessageClass::Text, LATIN_1)),
        (true, "" | "utf-8" | "us-ascii") if utf_8 => Ok((JmsMessageClass::Text, UTF_8)),
        (true, "") if kind.is_empty() => Ok((JmsMessageClass::Bytes, 0)),
        (true, "" | "utf-8" | "us-ascii") => Err(format!(
            "the body is not valid UTF-8, though it is said to be {:?}: correct the content type, or send application/octet-stream",
            parcel.content_type
        )),
        (true, _) => Ok((JmsMessageClass::Bytes, 0)),
    }
}
