//! Outcome of a send: confirmed, surely not sent, or unknown.

use quorate_proto::connector::{Confirmed, Reply, sent};

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

impl From<SendOutcome> for sent::Outcome {
    fn from(outcome: SendOutcome) -> Self {
        match outcome {
            SendOutcome::Confirmed { message_id, reply } => {
                sent::Outcome::Confirmed(Confirmed { message_id, reply })
            }
            SendOutcome::Refused(why) => sent::Outcome::Refused(why),
            SendOutcome::Full(why) => sent::Outcome::Full(why),
            SendOutcome::NotSent(why) => sent::Outcome::NotSent(why),
            SendOutcome::Unknown(why) => sent::Outcome::Unknown(why),
        }
    }
}

impl From<sent::Outcome> for SendOutcome {
    fn from(outcome: sent::Outcome) -> Self {
        match outcome {
            sent::Outcome::Confirmed(Confirmed { message_id, reply }) => {
                SendOutcome::Confirmed { message_id, reply }
            }
            sent::Outcome::Refused(why) => SendOutcome::Refused(why),
            sent::Outcome::Full(why) => SendOutcome::Full(why),
            sent::Outcome::NotSent(why) => SendOutcome::NotSent(why),
            sent::Outcome::Unknown(why) => SendOutcome::Unknown(why),
        }
    }
}
