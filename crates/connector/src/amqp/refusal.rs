//! Refusals of the broker that close a channel.

use lapin::{
    Error, ErrorKind,
    protocol::{AMQPErrorKind, AMQPSoftError},
};

/// Returns true if the broker refuses with this reason, closing a channel.
pub(super) fn is_refused(error: &Error, reason: AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(refusal)
        if *refusal.kind() == AMQPErrorKind::Soft(reason))
}
