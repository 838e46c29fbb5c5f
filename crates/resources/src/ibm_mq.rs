//! IBM MQ: `ibm_mq_connection`, `ibm_mq_channel` and `ibm_mq_outgoing`.

mod names;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    HiddenSecret, StandbyMode,
    field_reader::{FieldReader, ParseOutcome},
    sending, text_rules, yes,
};

/// The largest `backout_threshold`: what a queue's BOTHRESH can be.
const BACKOUT_THRESHOLD_MAX: u64 = 999_999_999;
/// The longest `expiration_ms`: MQ counts tenths of a second in 31 bits.
const EXPIRATION_MS_MAX: u64 = i32::MAX as u64 * 100;

/// The character sets that texts can be written in: ASCII, code page 437, ISO 8859-1, UTF-16,
/// UTF-8, Windows-1252, and the Latin-1 pages of EBCDIC without and with a euro sign.
pub const CCSIDS: [u16; 30] = [
    37, 273, 277, 278, 280, 284, 285, 297, 367, 437, 500, 819, 871, 1047, 1140, 1141, 1142, 1143,
    1144, 1145, 1146, 1147, 1148, 1149, 1200, 1208, 1252, 5348, 13488, 17584,
];

/// `ibm_mq_connection`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IbmMqConnection {
    /// Its name.
    pub name: String,
    /// The host of the queue manager's listener.
    pub host: String,
    /// The listener's port.
    #[serde(default = "port")]
    pub port: u16,
    /// The queue manager.
    pub queue_manager: String,
    /// The server connection channel (SVRCONN).
    pub channel: String,
    /// The user; without one the queue manager takes the user of the member's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Never shown again; left out of a PUT or apply it means unchanged. It goes with the
    /// user: without `username` there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Whether the queue manager is spoken to over TLS.
    #[serde(default)]
    pub ssl: bool,
    /// With `ssl`, the CipherSpec, such as `ANY_TLS12_OR_HIGHER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_cipher_spec: Option<String>,
    /// With `ssl`, the key repository on each member; what IBM's client finds in the
    /// environment (`MQSSLKEYR`) otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_key_repository: Option<String>,
    /// IBM's client library on each member: a file's name, looked for where the system
    /// looks for libraries, or an absolute path.
    #[serde(default = "library")]
    pub library: String,
}

fn port() -> u16 {
    1414
}

fn library() -> String {
    "libmqic_r.so".into()
}

impl IbmMqConnection {
    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let it = IbmMqConnection {
            name: fields.required("name", text_rules::name),
            host: fields.required("host", text_rules::host),
            port: fields.number("port", port(), 1..=65_535),
            queue_manager: fields.required("queue_manager", names::object),
            channel: fields.required("channel", names::channel),
            username: fields.text("username", names::user),
            password: fields.secret("password", names::password),
            ssl: fields.flag("ssl", false),
            ssl_cipher_spec: fields.text("ssl_cipher_spec", names::cipher_spec),
            ssl_key_repository: fields.text("ssl_key_repository", names::key_repository),
            library: fields
                .text("library", names::library)
                .unwrap_or_else(library),
        };
        if it.password.is_some() && !fields.has("username") {
            let problem = "goes with `username`: give both, or leave both out";
            fields.refuse("password", "(hidden)", problem);
        }
        match it.ssl {
            true if !fields.has("ssl_cipher_spec") => fields.refuse(
                "ssl_cipher_spec",
                "",
                "is required with `ssl: true`: the CipherSpec of the channel, such as ANY_TLS12_OR_HIGHER",
            ),
            true => {}
            false => {
                for field in ["ssl_cipher_spec", "ssl_key_repository"] {
                    if fields.has(field) {
                        let problem = "is for connections with `ssl: true`: set it, or leave this out";
                        fields.refuse(field, "", problem);
                    }
                }
            }
        }
        fields.finish(it)
    }
}

impl fmt::Debug for IbmMqConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IbmMqConnection")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("queue_manager", &self.queue_manager)
            .field("channel", &self.channel)
            .field("username", &self.username)
            .field("password", &HiddenSecret::new(&self.password))
            .field("ssl", &self.ssl)
            .field("ssl_cipher_spec", &self.ssl_cipher_spec)
            .field("ssl_key_repository", &self.ssl_key_repository)
            .field("library", &self.library)
            .finish()
    }
}

/// `ibm_mq_channel`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IbmMqChannel {
    /// Its name.
    pub name: String,
    /// The `ibm_mq_connection` that it uses.
    pub connection: String,
    /// The queue that it gets from, exclusively; it must exist.
    pub queue: String,
    /// The service that handles its messages.
    pub service: String,
    /// Whether messages are read as JMS writes them. Plain ones are read either way.
    #[serde(default = "yes")]
    pub jms: bool,
    /// Where messages go that failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backout_queue: Option<String>,
    /// How often a message is tried before it has failed for good.
    #[serde(default = "backout_threshold")]
    pub backout_threshold: u32,
    /// What the members that don't run it have of it.
    #[serde(default)]
    pub standby: StandbyMode,
    /// Inactive channels get nothing.
    #[serde(default = "yes")]
    pub active: bool,
}

fn backout_threshold() -> u32 {
    5
}

impl IbmMqChannel {
    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let name = fields.required("name", text_rules::name);
        let connection = fields.required("connection", text_rules::name);
        let queue = fields.required("queue", names::object);
        let backout_queue = fields.text("backout_queue", names::object);
        if backout_queue.as_ref() == Some(&queue) {
            fields.refuse(
                "backout_queue",
                &queue,
                "must be another queue than `queue`: a message that failed for good would come back for ever",
            );
        }
        let it = IbmMqChannel {
            name,
            connection,
            queue,
            service: fields.required("service", text_rules::name),
            jms: fields.flag("jms", yes()),
            backout_queue,
            backout_threshold: fields.number(
                "backout_threshold",
                backout_threshold(),
                1..=BACKOUT_THRESHOLD_MAX,
            ),
            standby: StandbyMode::read(&mut fields),
            active: fields.flag("active", yes()),
        };
        fields.finish(it)
    }
}

/// `ibm_mq_outgoing`. What it says of messages is what they get that say nothing themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IbmMqOutgoing {
    /// Its name.
    pub name: String,
    /// The `ibm_mq_connection` that it uses.
    pub connection: String,
    /// The queue that it puts to; it must exist.
    pub queue: String,
    /// Whether messages are written as JMS reads them, or plain.
    #[serde(default = "yes")]
    pub jms: bool,
    /// 1 is transient, 2 is persistent.
    #[serde(default = "sending::default_delivery_mode")]
    pub delivery_mode: u8,
    /// 0 to 9, the highest.
    #[serde(default = "sending::default_priority")]
    pub priority: u8,
    /// How long a message may wait in its queue, in milliseconds; for ever otherwise. MQ
    /// counts tenths of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_ms: Option<u64>,
    /// The character set that texts are written in; as they are otherwise, in UTF-8 or
    /// ISO 8859-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ccsid: Option<u16>,
    /// Inactive outgoings send nothing.
    #[serde(default = "yes")]
    pub active: bool,
}

impl IbmMqOutgoing {
    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let it = IbmMqOutgoing {
            name: fields.required("name", text_rules::name),
            connection: fields.required("connection", text_rules::name),
            queue: fields.required("queue", names::object),
            jms: fields.flag("jms", yes()),
            delivery_mode: sending::delivery_mode(&mut fields),
            priority: sending::priority(&mut fields),
            expiration_ms: sending::expiration_ms(&mut fields, EXPIRATION_MS_MAX),
            ccsid: ccsid(&mut fields),
            active: fields.flag("active", yes()),
        };
        fields.finish(it)
    }
}

fn ccsid(fields: &mut FieldReader<'_>) -> Option<u16> {
    let ccsid = fields.number("ccsid", 0, 1..=u16::MAX.into());
    if ccsid == 0 {
        return None;
    }
    if !CCSIDS.contains(&ccsid) {
        let known = CCSIDS.map(|it| it.to_string()).join(", ");
        let problem = format!("is no character set that texts can be written in: {known}");
        fields.refuse("ccsid", ccsid.to_string(), problem);
    }
    Some(ccsid)
}
