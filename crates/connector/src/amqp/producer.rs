//! Producer: sends a caller's message, and puts its outcome into words.

use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use quorate_clock::id128;
use quorate_ipc::SendOutcome;
use quorate_resources::AmqpOutgoing;

use super::{
    super::broker_link::{MessageProducer, OutgoingMessage},
    outgoing_message,
    publisher::{ConfirmPublisher, PublishOutcome, PublishRequest},
};

/// Time before the caller's deadline at which the producer gives up, so that the caller receives
/// the outcome.
const AHEAD: Duration = Duration::from_millis(10);

/// Producer over one connection.
#[derive(Clone)]
pub(crate) struct AmqpProducer {
    pub(super) publisher: ConfirmPublisher,
    pub(super) target: AmqpOutgoing,
    /// User and vhost of the connection.
    pub(super) user: String,
    pub(super) vhost: String,
}

impl MessageProducer for AmqpProducer {
    async fn send(&self, message: &OutgoingMessage) -> SendOutcome {
        let id = match message.message_id.as_str() {
            "" => format!("{:032x}", id128()),
            given => given.to_owned(),
        };
        let request =
            match outgoing_message::publish_request(&self.target, message, &id, &self.user) {
                Ok(request) => request,
                Err(wrong) => return SendOutcome::Refused(wrong.to_string()),
            };
        let to = way(&request);
        let alone = request.exchange.as_str().is_empty();
        let within = message.within.saturating_sub(AHEAD.min(message.within / 4));
        match self.publisher.publish(request, within).await {
            PublishOutcome::Confirmed => SendOutcome::Confirmed {
                message_id: id,
                reply: None,
            },
            PublishOutcome::Unroutable => SendOutcome::Refused(format!(
                "no queue takes messages sent to the {to}: bind one at the broker, or correct exchange and routing key"
            )),
            PublishOutcome::MaybeHandedOver(kind) => SendOutcome::Unknown(format!(
                "no queue takes messages sent to the {to}, which {kind} and may have handed it over by itself: if it does so, set `mandatory: false` in the amqp_outgoing"
            )),
            PublishOutcome::ReplyNotAwaited => SendOutcome::Refused(
                "who waited for this direct reply waits no more: its channel is closed".to_owned(),
            ),
            PublishOutcome::Nacked => {
                let why = format!(
                    "a queue behind the {to} did not take the message: it is full and rejects (`x-overflow: reject-publish`), or has failed"
                );
                // Behind the default exchange there is one queue, elsewhere there may be more.
                if alone {
                    SendOutcome::Full(why)
                } else {
                    SendOutcome::Unknown(format!("{why}; other queues behind it may have it"))
                }
            }
            PublishOutcome::Rejected(refusal) => SendOutcome::Refused(match refusal.kind() {
                AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => format!(
                    "there is no such exchange in the vhost {:?}, in the {to}: declare it at the broker, or correct the exchange",
                    self.vhost
                ),
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => format!(
                    "the user {:?} may not send to the {to}: give it the permission to write at the broker ({})",
                    self.user,
                    refusal.get_message()
                ),
                _ => format!(
                    "the broker refuses the message to the {to}: {}",
                    refusal.get_message()
                ),
            }),
            PublishOutcome::TooLarge(bytes, most) => SendOutcome::Refused(format!(
                "headers and properties take {bytes} bytes; the broker takes {most}"
            )),
            PublishOutcome::NotSent(why) => SendOutcome::NotSent(why),
            PublishOutcome::Unknown(why) => SendOutcome::Unknown(why),
        }
    }

    async fn close(self) {
        self.publisher.close();
    }
}

fn way(request: &PublishRequest) -> String {
    let (exchange, key) = (request.exchange.as_str(), request.routing_key.as_str());
    match exchange {
        "" => format!("default exchange with the routing key {key:?}"),
        _ => format!("exchange {exchange:?} with the routing key {key:?}"),
    }
}
