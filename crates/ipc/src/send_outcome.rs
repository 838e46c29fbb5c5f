//! The outcome of a send.

use quorate_proto::connector::Reply;

/// What became of a message that was to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum SendOutcome {
    /// The broker has it for sure; where there is none, the socket has taken it.
    Confirmed {
        /// Its id.
        message_id: String,
        /// What the other side answered, where it does.
        reply: Option<Reply>,
    },
    /// Surely not sent, and trying again would not help; why.
    Refused(String),
    /// Surely not sent, as there is no room for it now: later there may be; why.
    Full(String),
    /// Surely not sent; why.
    NotSent(String),
    /// It may or may not have been sent; why that isn't known.
    Unknown(String),
}
