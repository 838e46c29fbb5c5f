//! A message of MQ as the run loop knows messages.

use bytes::Bytes;
use libmqm_sys as mq;
use quorate_proto::connector::Header;
use quorate_rfh2::{
    ContentDescriptor, JmsFolders, JmsMessageClass, PropertyValue, Rfh2Error, Rfh2Header, read_all,
};

use super::{
    super::broker_link::IncomingMessage,
    charset::{decode, is_known},
    conversion::BrowsedMessage,
    fixed_fields::{bytes, id, text},
    put_time::put_time_ms,
};

const TEXT: &str = "text/plain; charset=utf-8";
const XML: &str = "text/xml; charset=utf-8";
const BINARY: &str = "application/octet-stream";
const JAVA: &str = "application/x-java-serialized-object";

/// A message, and what it lacks.
pub struct MqReadMessage {
    /// The message.
    pub message: IncomingMessage,
    /// Its text is in a character set that the tables here lack, and the queue manager has
    /// not been asked for it.
    pub needs_conversion: bool,
}

/// Reads it. `raw` is what was got: headers, and then the body. `browsed` is what the queue
/// manager made of it, if it was asked.
///
/// One whose headers are none is handed on whole, as bytes, with what is wrong in the
/// property `malformed`. It would be wrong to decide more here: only whoever holds the lease
/// may take it from its queue, and only the service knows whether it can do without headers.
/// A service that can't refuses it, and after its tries it goes to the backout queue as any
/// other.
pub fn read(
    descriptor: &mq::MQMD2,
    raw: &Bytes,
    jms: bool,
    browsed: Option<&BrowsedMessage>,
) -> MqReadMessage {
    let contents = contents(descriptor);
    let mut properties = Vec::new();
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            properties.push(Header {
                name: name.to_owned(),
                value: value.into(),
            });
        }
    };
    let read = read_headers(raw, contents);
    say("malformed", read.as_ref().err().map(Rfh2Error::to_string));
    let (headers, inner, at) = read.unwrap_or((JmsFolders::default(), contents, 0));
    let headers = if jms { headers } else { JmsFolders::default() };
    let body = raw.slice(at..);

    let zero = |id: &[u8; 24]| id.iter().all(|byte| *byte == 0);
    let correlation = || {
        let own = &descriptor.CorrelId;
        (!zero(own)).then(|| id(own))
    };
    let reply = || {
        let queue = text(&descriptor.ReplyToQ);
        (!queue.is_empty()).then(|| format!("queue://{}/{queue}", text(&descriptor.ReplyToQMgr)))
    };
    say(
        "correlation-id",
        headers.correlation_id.or_else(correlation),
    );
    say("reply-to", headers.reply_to.or_else(reply));
    say("destination", headers.destination);
    say("type", headers.kind);
    say("priority", Some(descriptor.Priority.to_string()));
    let persistent = descriptor.Persistence == mq::MQPER_PERSISTENT;
    let mode = if persistent { "2" } else { "1" };
    say("delivery-mode", Some(mode.to_owned()));
    let left = i64::from(descriptor.Expiry);
    say(
        "expiration-ms",
        (left > 0).then(|| (left * 100).to_string()),
    );
    let sent = headers.timestamp_ms.or_else(|| put_time_ms(descriptor));
    say("timestamp-ms", sent.map(|it| it.to_string()));
    say("group-id", headers.group_id);
    say(
        "group-sequence",
        headers.group_sequence.map(|it| it.to_string()),
    );
    say(
        "message-class",
        headers.class.as_ref().map(|it| it.name().to_owned()),
    );
    say(
        "format",
        Some(String::from_utf8_lossy(&inner.format).trim_end().to_owned()),
    );
    say("app-id", Some(text(&descriptor.PutApplName)));
    say("user-id", Some(text(&descriptor.UserIdentifier)));

    let kind = content_type(headers.class.as_ref(), &inner.format);
    let textual = matches!(kind, TEXT | XML);
    let askable = textual && !is_known(inner.ccsid) && is_set(inner.ccsid);
    let (content_type, body) = if textual {
        let asked = browsed.filter(|_| askable);
        match text_of(&body, inner, asked) {
            Ok(text) => (kind, Bytes::from(text)),
            Err(why) => {
                say("ccsid", Some(inner.ccsid.to_string()));
                say("not-converted", Some(why));
                (BINARY, body)
            }
        }
    } else {
        (kind, body)
    };
    let message = IncomingMessage {
        id: id(&descriptor.MsgId),
        content_type: content_type.to_owned(),
        headers: property_headers(headers.properties),
        properties,
        body,
        redelivered: descriptor.BackoutCount > 0,
        delivery_count: u32::try_from(descriptor.BackoutCount).unwrap_or(0),
        ..IncomingMessage::default()
    };
    MqReadMessage {
        message,
        needs_conversion: askable && browsed.is_none(),
    }
}

/// Whether this is the number of a character set: some say that it is told elsewhere.
fn is_set(ccsid: i32) -> bool {
    (1..65535).contains(&ccsid)
}

/// The text of a body by our tables, or as the queue manager converted it; or why there is
/// none.
fn text_of(
    body: &[u8],
    inner: ContentDescriptor,
    browsed: Option<&BrowsedMessage>,
) -> Result<String, String> {
    if let Some(text) = decode(body, inner.ccsid, inner.encoding) {
        return Ok(text);
    }
    match browsed {
        Some(browsed) => browsed.text().map(str::to_owned).map_err(str::to_owned),
        None if is_known(inner.ccsid) => Err("it is no text of that character set".to_owned()),
        None => Err("its character set is not known here".to_owned()),
    }
}

fn property_headers(properties: Vec<(String, PropertyValue)>) -> Vec<Header> {
    let with_value = properties
        .into_iter()
        .filter(|(_, it)| *it != PropertyValue::Null);
    with_value
        .map(|(name, value)| Header {
            name,
            value: value.to_string().into(),
        })
        .collect()
}

/// What a message's descriptor says of what follows it.
pub fn contents(descriptor: &mq::MQMD2) -> ContentDescriptor {
    ContentDescriptor {
        encoding: descriptor.Encoding,
        ccsid: descriptor.CodedCharSetId,
        format: bytes(&descriptor.Format),
    }
}

/// Reads the headers before a body; gives what the body is, and where it begins.
pub fn read_headers(
    raw: &[u8],
    contents: ContentDescriptor,
) -> Result<(JmsFolders, ContentDescriptor, usize), Rfh2Error> {
    let (headers, inner, at): (Vec<Rfh2Header>, _, _) = read_all(raw, contents)?;
    Ok((JmsFolders::read(&headers)?, inner, at))
}

/// What JMS says the body is; without that, what its format says.
fn content_type(class: Option<&JmsMessageClass>, format: &[u8; 8]) -> &'static str {
    match class {
        Some(JmsMessageClass::Text) => TEXT,
        Some(JmsMessageClass::Bytes) => BINARY,
        Some(JmsMessageClass::Other(name)) if matches!(name.as_str(), "jms_map" | "jms_stream") => {
            XML
        }
        Some(JmsMessageClass::Other(name)) if name == "jms_object" => JAVA,
        _ if format == b"MQSTR   " => TEXT,
        Some(JmsMessageClass::None) => "",
        _ => BINARY,
    }
}
