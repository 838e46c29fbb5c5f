//! Forwarding of a service's answer by an outgoing: `Quorate-Send: KIND/NAME`.
//!
//! The message that the service was called with counts as handled only once the broker has
//! confirmed the forwarded one. Otherwise the message has failed, so that its service runs again: a
//! forwarded message with an unknown outcome can be there twice. One that was refused for good
//! would be refused again, so the message that it answers is not tried again.

use http::HeaderValue;
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Send, outcome::Result as Outcome};
use quorate_service::{message_error::MessageError, message_parsing};

use super::{Reply, SendRouter, handled};

/// Message to forward, and the outgoing to send it by.
pub(super) struct ForwardedReply {
    kind: String,
    name: String,
    message: Send,
}

/// Part of the forwarding that can't be read; its text completes "SERVICE answered ...".
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardingError {
    #[error("Quorate-Send: {0:?}, which is no KIND/NAME such as amqp_outgoing/invoices")]
    Target(HeaderValue),
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Reads the forwarding that the answer asks for. The error names what is wrong with it.
pub(super) fn read(reply: &Reply, cid: String) -> Result<Option<ForwardedReply>, ForwardingError> {
    let Some(to) = reply.headers.get("quorate-send") else {
        return Ok(None);
    };
    let (kind, name) = to
        .to_str()
        .ok()
        .and_then(|it| it.split_once('/'))
        .ok_or_else(|| ForwardingError::Target(to.clone()))?;
    let mut message =
        message_parsing::parse_message(&reply.headers, None, reply.body.clone(), cid)?;
    if message.message_id.is_empty() {
        // The same in every try of the message that it answers.
        message.message_id.clone_from(&message.cid);
    }
    Ok(Some(ForwardedReply {
        kind: kind.to_owned(),
        name: name.to_owned(),
        message,
    }))
}

impl ForwardedReply {
    /// Sends the message; the message that it answers is handled then, or has failed.
    pub(super) async fn send(
        self,
        send_router: &SendRouter,
        service: &str,
        deadline: Instant,
        reply: Reply,
    ) -> Outcome {
        let ForwardedReply {
            kind,
            name,
            message,
        } = self;
        let describe = |what: &str, why: String| {
            format!("what {service} answered was {what} by {kind}/{name}: {why}")
        };
        let failed = |what: &str, why: String| Outcome::Failed(describe(what, why));
        match send_router.send(&kind, &name, message, deadline).await {
            Ok(SendOutcome::Confirmed { .. }) => Outcome::Handled(handled(reply)),
            Ok(SendOutcome::Refused(why)) => Outcome::Refused(describe("refused", why)),
            Ok(SendOutcome::Full(why)) => failed("refused", why),
            Ok(SendOutcome::NotSent(why)) => failed("not sent", why),
            Ok(SendOutcome::Unknown(why)) => failed("sent with an unknown outcome", why),
            Err(why) => failed("not sent", why.to_string()),
        }
    }
}
