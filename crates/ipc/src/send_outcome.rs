//! Outcome of a send: confirmed, surely not sent, or unknown.

use quorate_proto::connector::Reply;

/// Outcome of sending a message.
#[derive(Clone, Debug, PartialEq)]
pub enum SendOutcome {
    /// The broker has the message for sure; without a broker, the socket has taken it.
    Confirmed {
        /// Message id.
        message_id: String,
        /// Answer of the other side, where it gives one.
        reply: Option<Reply>,
    },
    /// Surely not sent, and trying again would not help; the reason.
    Refused(String),
    /// Surely not sent, as there is no room for it now: later there may be; the reason.
    Full(String),
    /// Surely not sent; the reason.
    NotSent(String),
    /// Possibly sent; the reason why that isn't known.
    Unknown(String),
}
