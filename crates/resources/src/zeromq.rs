//! ZeroMQ: `zmq_channel` and `zmq_outgoing`.

mod address;

use crate::{
    Kind,
    declaration::{choices, declare},
    field_reader::{FieldReader, quoted},
    field_rules::{flag, optional, reference, required, required_one_of},
    text_rules::{self, InvalidText, when},
};

use address::InvalidAddress;

pub use address::BoundAddress;

/// Fields of ZeroMQ's own encryption.
const CURVE: [&str; 3] = ["curve_server_key", "curve_public_key", "curve_secret_key"];

choices! {
    /// How a socket finds its peers.
    pub enum ZmqMethod {
        /// Connects to a socket that binds.
        Connect = "connect",
        /// Others connect to it.
        Bind = "bind",
    }
}

choices! {
    /// The socket of a channel.
    pub enum ZmqChannelSocket {
        /// Takes what PUSH sockets send.
        Pull = "PULL",
        /// Takes what PUB sockets publish.
        Sub = "SUB",
        /// Answers REQ sockets.
        Rep = "REP",
        /// Acks what DEALER sockets send.
        Router = "ROUTER",
    }
}

choices! {
    /// The socket of an outgoing.
    pub enum ZmqOutgoingSocket {
        /// Sends to PULL sockets.
        Push = "PUSH",
        /// Publishes to SUB sockets.
        Pub = "PUB",
        /// Asks REP sockets.
        Req = "REQ",
        /// Sends to ROUTER sockets, which ack.
        Dealer = "DEALER",
    }
}

declare! {
    /// `zmq_channel`
    pub struct ZmqChannel {
        /// The name of the channel.
        name: String = required(text_rules::name), then curve_is_not_there();
        /// Whether it connects or binds.
        method: ZmqMethod = required_one_of();
        /// `tcp://HOST:PORT` or `ipc:///PATH`.
        address: String = required(address::form), then address_fits(method, address);
        /// The type of its socket.
        socket_type: ZmqChannelSocket = required_one_of();
        /// With SUB, what messages must begin with; all are taken otherwise.
        sub_key: Option<String> = optional(subscription),
            then sub_key_needs_sub(sub_key, socket_type);
        /// The service that handles its messages.
        service: String = reference(Kind::Service);
        /// Inactive channels have no socket.
        active: bool = flag(true);
    }
}

fn sub_key_needs_sub(
    fields: &mut FieldReader<'_>,
    sub_key: &Option<String>,
    socket_type: &ZmqChannelSocket,
) {
    if let Some(key) = sub_key
        && *socket_type != ZmqChannelSocket::Sub
    {
        let problem = "is for `socket_type: SUB` alone: leave it out";
        fields.refuse("sub_key", key, problem);
    }
}

impl ZmqChannel {
    /// Returns what the socket type does not promise.
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

    /// Returns the address that it binds.
    pub fn bound(&self) -> Option<&str> {
        bound(self.active, self.method, &self.address)
    }
}

declare! {
    /// `zmq_outgoing`
    pub struct ZmqOutgoing {
        /// The name of the outgoing.
        name: String = required(text_rules::name), then curve_is_not_there();
        /// Whether it connects or binds.
        method: ZmqMethod = required_one_of();
        /// `tcp://HOST:PORT` or `ipc:///PATH`.
        address: String = required(address::form), then address_fits(method, address);
        /// The type of its socket.
        socket_type: ZmqOutgoingSocket = required_one_of();
        /// Inactive outgoings have no socket.
        active: bool = flag(true);
    }
}

impl ZmqOutgoing {
    /// Returns what the socket type does not promise.
    pub(super) fn warning(&self) -> Option<&'static str> {
        match self.socket_type {
            ZmqOutgoingSocket::Push | ZmqOutgoingSocket::Pub => Some(
                "messages go at most once: `confirmed` means that the socket has taken the message, not that anybody has; DEALER, with a peer that acks, confirms what was handled",
            ),
            ZmqOutgoingSocket::Req | ZmqOutgoingSocket::Dealer => None,
        }
    }

    /// Returns the address that it binds.
    pub fn bound(&self) -> Option<&str> {
        bound(self.active, self.method, &self.address)
    }
}

fn curve_is_not_there(fields: &mut FieldReader<'_>) {
    for field in CURVE {
        fields.refuse_unsupported(
            field,
            "is not to be had: this program's libzmq is built without CURVE; put the connection through a TLS tunnel or a private network",
        );
    }
}

/// Refuses an address of the right form that does not go with the method.
fn address_fits(fields: &mut FieldReader<'_>, method: &ZmqMethod, address: &str) {
    let rule = match method {
        ZmqMethod::Connect => address::to_connect,
        ZmqMethod::Bind => address::to_bind,
    };
    if address::form(address).is_ok()
        && let Err(problem) = rule(address)
    {
        fields.refuse("address", &quoted(&address.into()), problem);
    }
    if *method == ZmqMethod::Bind && BoundAddress::parse(address).is_none() {
        fields.not_known("address", address, InvalidAddress::Scheme);
    }
}

fn subscription(text: &str) -> Result<(), InvalidText> {
    when(text.len() <= 255, "must have at most 255 bytes")
}

fn bound(active: bool, method: ZmqMethod, address: &str) -> Option<&str> {
    (active && method == ZmqMethod::Bind).then_some(address)
}
