//! Sending.
//!
//! A message is put outside of any unit of work: when MQPUT has answered, it is on the
//! queue, and if it is persistent, in the queue manager's log. An answer that is lost with the
//! connection says neither that it is there nor that it is not.

use std::sync::Arc;

use libmqm_sys as mq;
use quorate_ipc::SendOutcome;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    super::broker_link::{OutgoingMessage, Sender},
    commands::{MqCommand, MqPutRequest, PutClaim},
    consumer::MqCommandSender,
    fixed_fields::id,
    outgoing_message,
    reason_codes::{MqFailure, MqFailureKind},
    settings::{MqConnectionSettings, MqOutgoingSettings},
};

/// Messages that wait for the connection's thread. More of them wait outside.
const WAITING: usize = 64;

/// A queue that is open for output.
#[derive(Clone)]
pub struct MqProducer {
    hand: MqCommandSender,
    manager: MqConnectionSettings,
    target: MqOutgoingSettings,
    room: Arc<Semaphore>,
}

impl MqProducer {
    /// To this queue, which the connection's thread has open.
    pub(super) fn new(
        hand: MqCommandSender,
        manager: MqConnectionSettings,
        target: MqOutgoingSettings,
    ) -> Self {
        MqProducer {
            hand,
            manager,
            target,
            room: Arc::new(Semaphore::new(WAITING)),
        }
    }

    fn failed(&self, failure: MqFailure, queue: &str) -> SendOutcome {
        let text = failure.text(&self.manager, queue);
        match failure.kind() {
            // It said that it takes nothing: before it took this.
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

impl Sender for MqProducer {
    async fn send(&self, parcel: &OutgoingMessage) -> SendOutcome {
        let ready = match outgoing_message::prepare_put(parcel, &self.target) {
            Ok(ready) => ready,
            Err(text) => return SendOutcome::Refused(text),
        };
        let queue = match &ready.to {
            Some(to) => to.queue.clone(),
            None => self.target.queue.clone(),
        };
        let begun = Arc::new(PutClaim::default());
        let put = Box::new(MqPutRequest {
            ready,
            begun: begun.clone(),
        });
        let sending = async {
            let _room = self.room.acquire().await;
            self.hand.ask(|answer| MqCommand::Put { put, answer }).await
        };
        let (unsent, text) = match timeout(parcel.within, sending).await {
            Ok(Ok(Ok(id_bytes))) => {
                return SendOutcome::Confirmed {
                    message_id: id(&id_bytes),
                    reply: None,
                };
            }
            Ok(Ok(Err(failure))) => return self.failed(failure, &queue),
            Ok(Err(trouble)) => (begun.give_up(), trouble.text),
            Err(_) => (
                begun.give_up(),
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
        // What waits is put or given up by whoever waits for it.
        let _ = self
            .room
            .acquire_many(u32::try_from(WAITING).unwrap_or(u32::MAX))
            .await;
    }
}
