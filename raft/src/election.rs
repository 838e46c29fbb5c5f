//! Elections: when a member stands, and whom it would elect.

mod canvass;
mod seat;
mod timeout;
mod voter;

pub(crate) use canvass::Canvass;
pub(crate) use seat::Seat;
pub(crate) use timeout::{LastWord, due, keep};

use quorate_proto::peer;
use quorate_types::Reason;

/// The reason as a vote request carries it.
pub(crate) fn wire_reason(reason: Reason) -> peer::Reason {
    match reason {
        Reason::Timeout => peer::Reason::Timeout,
        Reason::Transfer => peer::Reason::Transfer,
        Reason::Death => peer::Reason::Death,
    }
}
