//! IBM MQ: `ibm_mq_connection`, `ibm_mq_channel` and `ibm_mq_outgoing`.

mod names;

use crate::{
    Kind, StandbyMode,
    declaration::declare,
    field_reader::{FieldReader, GivenValue},
    field_rules::{
        NumberValue, OptionalField, ValueRule, flag, number, one_of, optional, optional_number,
        reference, required, secret, text_or,
    },
    sending, text_rules,
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

declare! {
    /// `ibm_mq_connection`
    pub struct IbmMqConnection {
        /// The name of the connection.
        name: String = required(text_rules::name);
        /// The host of the queue manager's listener.
        host: String = required(text_rules::host);
        /// The listener's port.
        port: u16 = number(1414, 1..=65_535);
        /// The queue manager.
        queue_manager: String = required(names::object);
        /// The server connection channel (SVRCONN).
        channel: String = required(names::channel);
        /// The user; without one the queue manager takes the user of the member's process.
        username: Option<String> = optional(names::user);
        /// Never shown again; left out of a PUT or apply it means unchanged. It goes with the
        /// user: without `username` there is none.
        password: Option<String> = secret(names::password);
        /// Whether the queue manager is spoken to over TLS.
        ssl: bool = flag(false);
        /// With `ssl`, the CipherSpec, such as `ANY_TLS12_OR_HIGHER`.
        ssl_cipher_spec: Option<String> = optional(names::cipher_spec);
        /// With `ssl`, the key repository on each member; what IBM's client finds in the
        /// environment (`MQSSLKEYR`) otherwise.
        ssl_key_repository: Option<String> = optional(names::key_repository);
        /// IBM's client library on each member: a file's name, looked for where the system
        /// looks for libraries, or an absolute path.
        library: String = text_or("libmqic_r.so", names::library),
            then user_and_tls_are_whole(password, ssl);
    }
}

fn user_and_tls_are_whole(fields: &mut FieldReader<'_>, password: &Option<String>, ssl: &bool) {
    if password.is_some() && !fields.has("username") {
        let problem = "goes with `username`: give both, or leave both out";
        fields.refuse("password", "(hidden)", problem);
    }
    if *ssl && !fields.has("ssl_cipher_spec") {
        fields.refuse(
            "ssl_cipher_spec",
            "",
            "is required with `ssl: true`: the CipherSpec of the channel, such as ANY_TLS12_OR_HIGHER",
        );
    }
    for field in ["ssl_cipher_spec", "ssl_key_repository"] {
        if !ssl && fields.has(field) {
            let problem = "is for connections with `ssl: true`: set it, or leave this out";
            fields.refuse(field, "", problem);
        }
    }
}

declare! {
    /// `ibm_mq_channel`
    pub struct IbmMqChannel {
        /// The name of the channel.
        name: String = required(text_rules::name);
        /// The `ibm_mq_connection` that it uses.
        connection: String = reference(Kind::IbmMqConnection);
        /// The queue that it gets from, exclusively; it must exist.
        queue: String = required(names::object);
        /// Where messages go that failed for good.
        backout_queue: Option<String> = optional(names::object),
            then backout_leads_on(backout_queue, queue);
        /// The service that handles its messages.
        service: String = reference(Kind::Service);
        /// Whether messages are read as JMS writes them. Plain ones are read either way.
        jms: bool = flag(true);
        /// How often a message is tried before it has failed for good.
        backout_threshold: u32 = number(5, 1..=BACKOUT_THRESHOLD_MAX);
        /// What the members that don't run it have of it.
        standby: StandbyMode = one_of();
        /// Inactive channels get nothing.
        active: bool = flag(true);
    }
}

fn backout_leads_on(fields: &mut FieldReader<'_>, backout_queue: &Option<String>, queue: &str) {
    if backout_queue.as_deref() == Some(queue) {
        fields.refuse(
            "backout_queue",
            queue,
            "must be another queue than `queue`: a message that failed for good would come back for ever",
        );
    }
}

declare! {
    /// `ibm_mq_outgoing`: its fields hold for messages that bring no such properties themselves.
    pub struct IbmMqOutgoing {
        /// The name of the outgoing.
        name: String = required(text_rules::name);
        /// The `ibm_mq_connection` that it uses.
        connection: String = reference(Kind::IbmMqConnection);
        /// The queue that it puts to; it must exist.
        queue: String = required(names::object);
        /// Whether messages are written as JMS reads them, or plain.
        jms: bool = flag(true);
        /// 1 is transient, 2 is persistent.
        delivery_mode: u8 = sending::DELIVERY_MODE;
        /// 0 to 9, the highest.
        priority: u8 = sending::PRIORITY;
        /// How long a message may wait in its queue, in milliseconds; for ever otherwise. MQ
        /// counts tenths of a second.
        expiration_ms: Option<u64> = optional_number(EXPIRATION_MS_MAX);
        /// The character set that texts are written in; as they are otherwise, in UTF-8 or
        /// ISO 8859-1.
        ccsid: Option<u16> = OptionalField(CcsidValue);
        /// Inactive outgoings send nothing.
        active: bool = flag(true);
    }
}

/// One of [`CCSIDS`].
struct CcsidValue;

impl ValueRule for CcsidValue {
    type Value = u16;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<u16> {
        let ccsid = NumberValue::<u16>::within(1..=u16::MAX.into()).parse(given)?;
        if ccsid != 0 && !CCSIDS.contains(&ccsid) {
            let known = CCSIDS.map(|it| it.to_string()).join(", ");
            let problem = format!("is no character set that texts can be written in: {known}");
            given.refuse(problem);
        }
        Some(ccsid).filter(|ccsid| *ccsid != 0)
    }
}
