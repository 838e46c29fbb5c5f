//! Sends of one outgoing that its process has taken and not yet reported.

use std::collections::BTreeMap;

use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Send, Sent as SentReport, to_process::Frame};

use super::{
    connector_spec::ConnectorSpec,
    send_queue::{SendQueue, SendRequest},
    send_router::SendRouter,
};

/// Queue and sends in flight of an outgoing; empty for a channel.
pub(crate) struct InFlightSends {
    waiting: Option<SendQueue>,
    in_flight: BTreeMap<u64, SendRequest>,
    /// Most messages that the process has at a time: the others wait where they can be withdrawn.
    places: usize,
    next: u64,
}

impl InFlightSends {
    pub(crate) fn new(spec: &ConnectorSpec, send_router: &SendRouter) -> InFlightSends {
        InFlightSends {
            waiting: spec.service.is_none().then(|| send_router.open(&spec.key)),
            in_flight: BTreeMap::new(),
            places: spec.concurrency_max.into(),
            next: 1,
        }
    }

    /// Returns the next message for the process, or waits. Cancel safe.
    pub(crate) async fn next(&mut self) -> Frame {
        let Some(waiting) = self
            .waiting
            .as_ref()
            .filter(|_| self.in_flight.len() < self.places)
        else {
            return std::future::pending().await;
        };
        let request = waiting.take().await;
        let send = self.next;
        self.next += 1;
        let frame = Frame::Send(Send {
            send,
            within_ms: request.within().as_millis().try_into().unwrap_or(u64::MAX),
            ..request.message.clone()
        });
        self.in_flight.insert(send, request);
        frame
    }

    /// Answers a send with the outcome that the process reports.
    pub(crate) fn resolve(&mut self, report: SentReport) {
        let Some(request) = self.in_flight.remove(&report.send) else {
            return;
        };
        let unreadable = || SendOutcome::Unknown("its process's answer can't be read".into());
        request.answer(report.outcome.map_or_else(unreadable, SendOutcome::from));
    }

    /// Answers all sends in flight as unknown: the process is gone.
    pub(crate) fn fail_all(&mut self) {
        for request in std::mem::take(&mut self.in_flight).into_values() {
            request.answer(SendOutcome::Unknown(
                "its process has ended before the broker confirmed".into(),
            ));
        }
    }
}
