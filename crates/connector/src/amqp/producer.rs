//! Sending: one message of a caller, and what became of it in words.

use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use quorate_clock::id128;
use quorate_ipc::SendOutcome;
use serde::Deserialize;

use super::{
    super::broker_link::{OutgoingMessage, Sender},
    outgoing_message,
    publisher::{ConfirmPublisher, PublishOutcome, PublishRequest},
};

/// `amqp_outgoing`, as far as sending goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AmqpOutgoingSettings {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) delivery_mode: u8,
    pub(super) priority: u8,
    #[serde(default)]
    pub(super) content_type: Option<String>,
    #[serde(default)]
    pub(super) content_encoding: Option<String>,
    #[serde(default)]
    pub(super) expiration_ms: Option<u64>,
    #[serde(default)]
    pub(super) app_id: Option<String>,
    pub(super) mandatory: bool,
}

/// How long before the caller gives up this does, so that its word is heard.
const AHEAD: Duration = Duration::from_millis(10);

/// Sends over one connection.
#[derive(Clone)]
pub struct AmqpProducer {
    pub(super) publisher: ConfirmPublisher,
    pub(super) target: AmqpOutgoingSettings,
    /// As whom, and into which vhost.
    pub(super) user: String,
    pub(super) vhost: String,
}

impl Sender for AmqpProducer {
    async fn send(&self, parcel: &OutgoingMessage) -> SendOutcome {
        let id = match parcel.message_id.as_str() {
            "" => format!("{:032x}", id128()),
            given => given.to_owned(),
        };
        let letter = match outgoing_message::publish_request(&self.target, parcel, &id, &self.user)
        {
            Ok(letter) => letter,
            Err(wrong) => return SendOutcome::Refused(wrong),
        };
        let to = way(&letter);
        let alone = letter.exchange.as_str().is_empty();
        let within = parcel.within.saturating_sub(AHEAD.min(parcel.within / 4));
        match self.publisher.publish(letter, within).await {
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
                match alone {
                    true => SendOutcome::Full(why),
                    false => {
                        SendOutcome::Unknown(format!("{why}; other queues behind it may have it"))
                    }
                }
            }
            PublishOutcome::Rejected(said) => SendOutcome::Refused(match said.kind() {
                AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => format!(
                    "there is no such exchange in the vhost {:?}, in the {to}: declare it at the broker, or correct the exchange",
                    self.vhost
                ),
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => format!(
                    "the user {:?} may not send to the {to}: give it the permission to write at the broker ({})",
                    self.user,
                    said.get_message()
                ),
                _ => format!(
                    "the broker refuses the message to the {to}: {}",
                    said.get_message()
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

fn way(letter: &PublishRequest) -> String {
    let (exchange, key) = (letter.exchange.as_str(), letter.routing_key.as_str());
    match exchange {
        "" => format!("default exchange with the routing key {key:?}"),
        _ => format!("exchange {exchange:?} with the routing key {key:?}"),
    }
}
