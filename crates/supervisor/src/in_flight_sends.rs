//! The messages that one outgoing has under way, as its keeper holds them.

use std::collections::BTreeMap;

use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Confirmed, Send, Sent as Said, sent::Outcome, to_process::Frame};

use super::{
    connector_spec::ConnectorSpec,
    send_queue::{SendQueue, SendRequest},
    send_router::SendRouter,
};

/// Of an outgoing: what waits and what is under way. Of a channel: nothing.
pub struct InFlightSends {
    waiting: Option<SendQueue>,
    under_way: BTreeMap<u64, SendRequest>,
    /// Most messages that the process has at a time: what there is no place for waits where
    /// it can be taken back.
    places: usize,
    next: u64,
}

impl InFlightSends {
    /// Of a connector.
    pub fn new(spec: &ConnectorSpec, outlets: &SendRouter) -> InFlightSends {
        InFlightSends {
            waiting: spec.service.is_none().then(|| outlets.open(&spec.key)),
            under_way: BTreeMap::new(),
            places: spec.concurrency_max.into(),
            next: 1,
        }
    }

    /// The next message for the process; waits for ever when there is none. Can be dropped
    /// and called again.
    pub async fn next(&mut self) -> Frame {
        let Some(waiting) = self
            .waiting
            .as_ref()
            .filter(|_| self.under_way.len() < self.places)
        else {
            return std::future::pending().await;
        };
        let job = waiting.take().await;
        let send = self.next;
        self.next += 1;
        let frame = Frame::Send(Send {
            send,
            within_ms: job.within().as_millis().try_into().unwrap_or(u64::MAX),
            ..job.message.clone()
        });
        self.under_way.insert(send, job);
        frame
    }

    /// What the process says became of one.
    pub fn resolve(&mut self, said: Said) {
        let Some(job) = self.under_way.remove(&said.send) else {
            return;
        };
        job.answer(match said.outcome {
            Some(Outcome::Confirmed(Confirmed { message_id, reply })) => {
                SendOutcome::Confirmed { message_id, reply }
            }
            Some(Outcome::Refused(why)) => SendOutcome::Refused(why),
            Some(Outcome::Full(why)) => SendOutcome::Full(why),
            Some(Outcome::NotSent(why)) => SendOutcome::NotSent(why),
            Some(Outcome::Unknown(why)) => SendOutcome::Unknown(why),
            None => SendOutcome::Unknown("its process's answer can't be read".into()),
        });
    }

    /// The process is gone.
    pub fn fail_all(&mut self) {
        for job in std::mem::take(&mut self.under_way).into_values() {
            job.answer(SendOutcome::Unknown(
                "its process has ended before the broker confirmed".into(),
            ));
        }
    }
}
