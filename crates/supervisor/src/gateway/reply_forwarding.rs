//! A service's answer that is to be sent: `Quorate-Send: KIND/NAME`.
//!
//! The message that the service was called with counts as handled only once the broker has
//! confirmed what was sent. Otherwise it is a failure of the message, so that its service
//! runs again: what was sent with an unknown outcome can be there twice. What was refused for
//! good would be so again: the message has had its tries then.

use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Send, outcome::Result as Outcome};
use quorate_service::message_parsing;

use super::{Reply, SendRouter, handled};

/// What is to be sent, and by which outgoing.
pub struct ForwardedReply {
    kind: String,
    name: String,
    message: Send,
}

/// Reads what the answer asks for. An error says what was wrong with it.
pub fn read(reply: &Reply, cid: String) -> Result<Option<ForwardedReply>, String> {
    let Some(to) = reply.headers.get("quorate-send") else {
        return Ok(None);
    };
    let (kind, name) = to
        .to_str()
        .ok()
        .and_then(|it| it.split_once('/'))
        .ok_or_else(|| {
            format!("Quorate-Send: {to:?}, which is no KIND/NAME such as amqp_outgoing/invoices")
        })?;
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
    /// Sends it; then the message that it answers is handled, or has failed.
    pub async fn send(
        self,
        outlets: &SendRouter,
        service: &str,
        deadline: Instant,
        reply: Reply,
    ) -> Outcome {
        let ForwardedReply {
            kind,
            name,
            message,
        } = self;
        let told = |what: &str, why: String| {
            format!("what {service} answered was {what} by {kind}/{name}: {why}")
        };
        let failed = |what: &str, why: String| Outcome::Failed(told(what, why));
        match outlets.send(&kind, &name, message, deadline).await {
            Ok(SendOutcome::Confirmed { .. }) => Outcome::Handled(handled(reply)),
            Ok(SendOutcome::Refused(why)) => Outcome::Refused(told("refused", why)),
            Ok(SendOutcome::Full(why)) => failed("refused", why),
            Ok(SendOutcome::NotSent(why)) => failed("not sent", why),
            Ok(SendOutcome::Unknown(why)) => failed("sent with an unknown outcome", why),
            Err(why) => failed("not sent", why.to_string()),
        }
    }
}
