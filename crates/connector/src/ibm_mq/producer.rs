//! Producer of a queue: puts outside of any unit of work.
//!
//! When MQPUT has answered, the message is on the queue, and if it is persistent, in the queue
//! manager's log. An answer that is lost with the connection leaves open whether the message is
//! there.

use std::sync::Arc;

use libmqm_sys as mq;
use quorate_ipc::SendOutcome;
use quorate_resources::{IbmMqConnection, IbmMqOutgoing};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    super::broker_link::{MessageProducer, OutgoingMessage},
    commands::{MqCommand, MqPutRequest, PutClaim},
    consumer::MqCommandSender,
    fixed_fields::id,
    outgoing_message,
    reason_codes::{MqFailure, MqFailureKind},
};

/// Upper bound of messages that wait for the connection's thread. More of them wait outside.
const WAITING: usize = 64;

/// Queue that is open for output.
#[derive(Clone)]
pub(crate) struct MqProducer {
    commands: MqCommandSender,
    manager: IbmMqConnection,
    target: IbmMqOutgoing,
    room: Arc<Semaphore>,
}

impl MqProducer {
    /// Returns a producer for this queue, which the connection's thread has open.
    pub(super) fn new(
        commands: MqCommandSender,
        manager: IbmMqConnection,
        target: IbmMqOutgoing,
    ) -> Self {
        MqProducer {
            commands,
            manager,
            target,
            room: Arc::new(Semaphore::new(WAITING)),
        }
    }

    fn failed(&self, failure: MqFailure, queue: &str) -> SendOutcome {
        let text = failure.text(&self.manager, queue);
        match failure.kind() {
            // The queue manager refuses all work, so it has not taken this message.
            MqFailureKind::ConnectionLost if failure.quiescing() => SendOutcome::NotSent(text),
            MqFailureKind::ConnectionLost => SendOutcome::Unknown(text),
            MqFailureKind::Transient => SendOutcome::NotSent(text),
            MqFailureKind::Permanent if failure.reason == mq::MQRC_BACKED_OUT => {
                SendOutcome::NotSent(text)
            }
            MqFailureKind::Permanent => SendOutcome::Refused(text),
        }
    }
}

impl MessageProducer for MqProducer {
    async fn send(&self, message: &OutgoingMessage) -> SendOutcome {
        let ready = match outgoing_message::prepare_put(message, &self.target) {
            Ok(ready) => ready,
            Err(error) => return SendOutcome::Refused(error.to_string()),
        };
        let queue = match &ready.to {
            Some(to) => to.queue.clone(),
            None => self.target.queue.clone(),
        };
        let claim = Arc::new(PutClaim::default());
        let put = Box::new(MqPutRequest {
            ready,
            claim: claim.clone(),
        });
        let sending = async {
            let _room = self.room.acquire().await;
            self.commands
                .ask(|answer| MqCommand::Put { put, answer })
                .await
        };
        let (unsent, text) = match timeout(message.within, sending).await {
            Ok(Ok(Ok(id_bytes))) => {
                return SendOutcome::Confirmed {
                    message_id: id(&id_bytes),
                    reply: None,
                };
            }
            Ok(Ok(Err(failure))) => return self.failed(failure, &queue),
            Ok(Err(error)) => (claim.give_up(), error.text),
            Err(_) => (
                claim.give_up(),
                "the queue manager did not take it in time".to_owned(),
            ),
        };
        if unsent {
            SendOutcome::NotSent(text)
        } else {
            SendOutcome::Unknown(text)
        }
    }

    async fn close(self) {
        // Messages that wait are put, or given up by the callers that wait for them.
        let _ = self
            .room
            .acquire_many(u32::try_from(WAITING).unwrap_or(u32::MAX))
            .await;
    }
}
