//! The messages that one outgoing has under way, as its keeper holds them.

use std::collections::BTreeMap;

use quorate_ipc::Sent;
use quorate_proto::connector::{Confirmed, Send, Sent as Said, sent::Outcome, to_process::Frame};

use super::{
    mailbox::{Job, Mailbox},
    outlets::Outlets,
    spec::Spec,
};

/// Of an outgoing: what waits and what is under way. Of a channel: nothing.
pub struct Mail {
    waiting: Option<Mailbox>,
    under_way: BTreeMap<u64, Job>,
    /// Most messages that the process has at a time: what there is no place for waits where
    /// it can be taken back.
    places: usize,
    next: u64,
}

impl Mail {
    /// Of a connector.
    pub fn of(spec: &Spec, outlets: &Outlets) -> Mail {
        Mail {
            waiting: spec.service.is_none().then(|| outlets.open(&spec.key)),
            under_way: BTreeMap::new(),
            places: spec.places.into(),
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
    pub fn settled(&mut self, said: Said) {
        let Some(job) = self.under_way.remove(&said.send) else {
            return;
        };
        job.answer(match said.outcome {
            Some(Outcome::Confirmed(Confirmed { message_id, reply })) => {
                Sent::Confirmed { message_id, reply }
            }
            Some(Outcome::Refused(why)) => Sent::Refused(why),
            Some(Outcome::Full(why)) => Sent::Full(why),
            Some(Outcome::NotSent(why)) => Sent::NotSent(why),
            Some(Outcome::Unknown(why)) => Sent::Unknown(why),
            None => Sent::Unknown("its process's answer can't be read".into()),
        });
    }

    /// The process is gone.
    pub fn lost(&mut self) {
        for job in std::mem::take(&mut self.under_way).into_values() {
            job.answer(Sent::Unknown(
                "its process has ended before the broker confirmed".into(),
            ));
        }
    }
}
