//! ZeroMQ: `zmq_channel` and `zmq_outgoing`.

mod address;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    field_reader::{FieldReader, ParseOutcome},
    text_rules, yes,
};

pub use address::BoundAddress;

/// The longest `sub_key`, in bytes.
const SUB_KEY_BYTES_MAX: usize = 255;

/// Fields of ZeroMQ's own encryption.
const CURVE: [&str; 3] = ["curve_server_key", "curve_public_key", "curve_secret_key"];

/// How a socket finds its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZmqMethod {
    /// It connects to one that binds.
    Connect,
    /// Others connect to it.
    Bind,
}

/// The socket of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ZmqChannelSocket {
    /// Takes what PUSH sockets send.
    Pull,
    /// Takes what PUB sockets publish.
    Sub,
    /// Answers REQ sockets.
    Rep,
    /// Acks what DEALER sockets send.
    Router,
}

/// The socket of an outgoing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ZmqOutgoingSocket {
    /// Sends to PULL sockets.
    Push,
    /// Publishes to SUB sockets.
    Pub,
    /// Asks REP sockets.
    Req,
    /// Sends to ROUTER sockets, which ack.
    Dealer,
}

/// `zmq_channel`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZmqChannel {
    /// Its name.
    pub name: String,
    /// `tcp://HOST:PORT` or `ipc:///PATH`.
    pub address: String,
    /// The type of its socket.
    pub socket_type: ZmqChannelSocket,
    /// Whether it connects or binds.
    pub method: ZmqMethod,
    /// With SUB, what messages must begin with; all are taken otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_key: Option<String>,
    /// The service that handles its messages.
    pub service: String,
    /// Inactive channels have no socket.
    #[serde(default = "yes")]
    pub active: bool,
}

impl ZmqChannel {
    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let name = fields.required("name", text_rules::name);
        let (method, address) = place(&mut fields);
        let socket_type = fields.required_one_of(
            "socket_type",
            &[
                ("PULL", ZmqChannelSocket::Pull),
                ("SUB", ZmqChannelSocket::Sub),
                ("REP", ZmqChannelSocket::Rep),
                ("ROUTER", ZmqChannelSocket::Router),
            ],
        );
        let sub_key = fields.text("sub_key", sub_key);
        if let Some(key) = sub_key
            .as_ref()
            .filter(|_| socket_type != ZmqChannelSocket::Sub)
        {
            let problem = "is for `socket_type: SUB` alone: leave it out";
            fields.refuse("sub_key", key, problem);
        }
        let it = ZmqChannel {
            name,
            address,
            socket_type,
            method,
            sub_key,
            service: fields.required("service", text_rules::name),
            active: fields.flag("active", yes()),
        };
        fields.finish(it)
    }

    /// What its socket type does not promise.
    pub(super) fn warning(&self) -> Option<&'static str> {
        match self.socket_type {
            ZmqChannelSocket::Pull | ZmqChannelSocket::Sub => Some(
                "messages come at most once: those that ZeroMQ holds when the connector server dies are lost, and so are those that fail; ROUTER, with a peer that sends again what was not acked, loses none",
            ),
            ZmqChannelSocket::Rep => Some(
                "a question without an answer is lost when the connector server dies, and the one who asked has to ask again; ROUTER, whose peers send again what was not acked, loses none",
            ),
            ZmqChannelSocket::Router => None,
        }
    }

    /// The address that it binds.
    pub fn bound(&self) -> Option<&str> {
        bound(self.active, self.method, &self.address)
    }
}

/// `zmq_outgoing`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZmqOutgoing {
    /// Its name.
    pub name: String,
    /// `tcp://HOST:PORT` or `ipc:///PATH`.
    pub address: String,
    /// The type of its socket.
    pub socket_type: ZmqOutgoingSocket,
    /// Whether it connects or binds.
    pub method: ZmqMethod,
    /// Inactive outgoings have no socket.
    #[serde(default = "yes")]
    pub active: bool,
}

impl ZmqOutgoing {
    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let name = fields.required("name", text_rules::name);
        let (method, address) = place(&mut fields);
        let it = ZmqOutgoing {
            name,
            address,
            socket_type: fields.required_one_of(
                "socket_type",
                &[
                    ("PUSH", ZmqOutgoingSocket::Push),
                    ("PUB", ZmqOutgoingSocket::Pub),
                    ("REQ", ZmqOutgoingSocket::Req),
                    ("DEALER", ZmqOutgoingSocket::Dealer),
                ],
            ),
            method,
            active: fields.flag("active", yes()),
        };
        fields.finish(it)
    }

    /// What its socket type does not promise.
    pub(super) fn warning(&self) -> Option<&'static str> {
        match self.socket_type {
            ZmqOutgoingSocket::Push | ZmqOutgoingSocket::Pub => Some(
                "messages go at most once: `confirmed` means that the socket has taken the message, not that anybody has; DEALER, with a peer that acks, confirms what was handled",
            ),
            ZmqOutgoingSocket::Req | ZmqOutgoingSocket::Dealer => None,
        }
    }

    /// The address that it binds.
    pub fn bound(&self) -> Option<&str> {
        bound(self.active, self.method, &self.address)
    }
}

/// `method` and `address`, which must go with it.
fn place(fields: &mut FieldReader<'_>) -> (ZmqMethod, String) {
    for field in CURVE {
        fields.refuse_unsupported(
            field,
            "is not to be had: this program's libzmq is built without CURVE; put the connection through a TLS tunnel or a private network",
        );
    }
    let choices = [("connect", ZmqMethod::Connect), ("bind", ZmqMethod::Bind)];
    let method = fields.required_one_of("method", &choices);
    let rule = match method {
        ZmqMethod::Connect => address::to_connect,
        ZmqMethod::Bind => address::to_bind,
    };
    let address = fields.required("address", rule);
    if method == ZmqMethod::Bind && BoundAddress::parse(&address).is_none() {
        fields.not_known("address", &address, address::WANTS);
    }
    (method, address)
}

fn sub_key(text: &str) -> Result<(), String> {
    match text.len() <= SUB_KEY_BYTES_MAX {
        true => Ok(()),
        false => Err(format!("must have at most {SUB_KEY_BYTES_MAX} bytes")),
    }
}

fn bound(active: bool, method: ZmqMethod, address: &str) -> Option<&str> {
    (active && method == ZmqMethod::Bind).then_some(address)
}
