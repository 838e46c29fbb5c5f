//! Session of an outgoing: messages from the parent out, outcomes back.
//!
//! The lease is checked before each send; while it has lapsed and may be renewed, nothing is begun.
//! Every message that the parent has handed over gets exactly one outcome while the process lives:
//! when the session ends, those under way are unknown and those not yet begun were not sent.

use std::{collections::BTreeSet, marker::PhantomData, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quorate_clock::Instant;
use quorate_ipc::{ConnectorSettings, SendOutcome, lease::LeaseTenure};
use quorate_proto::connector::{self as proto, from_process::Frame};
use tokio::time::{sleep_until, timeout};
use tracing::{Instrument, debug_span};

use super::{
    broker_link::{ConnectorError, MessageProducer, OutboundLink, OutgoingMessage},
    process_context::{LEASE_POLL_INTERVAL, PendingSend, ProcessContext, ProcessReign},
    progress::ProgressTracker,
    role::{ConnectorRole, DRAIN_TIMEOUT_DEFAULT, RoleSettings, ServeOutcome},
};

/// Time for closing while messages are under way.
const CLOSING: Duration = Duration::from_secs(1);

/// Time that a sender may take for its outcome beyond the message's deadline.
const SLACK: Duration = Duration::from_millis(20);

/// Role of an outgoing: it sends.
pub(crate) struct OutgoingRole<L>(PhantomData<L>);

impl<L: OutboundLink> ConnectorRole for OutgoingRole<L> {
    type Link = L;
    type Resource = L::Target;
    type Session = L::Producer;

    fn same_session(
        before: &ConnectorSettings<L::Target>,
        now: &ConnectorSettings<L::Target>,
    ) -> bool {
        L::session_key(&before.resource) == L::session_key(&now.resource)
    }

    fn progress_of(_: &L, _: &RoleSettings<Self>) -> String {
        String::new()
    }

    async fn open(
        link: &L,
        settings: &RoleSettings<Self>,
        _: Option<u64>,
        _: &ProgressTracker,
    ) -> Result<L::Producer, ConnectorError> {
        link.open(&settings.connector.resource).await
    }

    async fn serve(
        context: &mut ProcessContext,
        link: &L,
        session: L::Producer,
        settings: RoleSettings<Self>,
        reign: ProcessReign,
    ) -> ServeOutcome<L::Producer> {
        let mut outgoing = OutgoingSession {
            context,
            link,
            sender: session,
            settings,
            reign,
            under_way: BTreeSet::new(),
            actions: FuturesUnordered::new(),
            drain: None,
            paused_until: None,
        };
        let worked = outgoing.work().await;
        outgoing.settle_rest(&worked).await;
        match worked {
            Ok(()) => ServeOutcome::Drained(outgoing.sender),
            Err(error) => ServeOutcome::Ended(error),
        }
    }

    async fn is_taken(_: &L, _: &RoleSettings<Self>) -> Option<bool> {
        None
    }

    async fn close(session: L::Producer) {
        session.close().await;
    }
}

/// Open session that sends.
struct OutgoingSession<'a, L: OutboundLink> {
    context: &'a mut ProcessContext,
    link: &'a L,
    sender: L::Producer,
    settings: RoleSettings<OutgoingRole<L>>,
    reign: ProcessReign,
    under_way: BTreeSet<u64>,
    actions: FuturesUnordered<BoxFuture<'static, (u64, SendOutcome)>>,
    /// Deadline of the drain, once the session has to end.
    drain: Option<Instant>,
    /// Time of the next lease check, while the session stands still after a lapse.
    paused_until: Option<Instant>,
}

impl<L: OutboundLink> OutgoingSession<'_, L> {
    async fn work(&mut self) -> Result<(), ConnectorError> {
        // Orders that came since the session was asked for.
        self.apply_desired();
        // And the state of the lease since then.
        self.check_lease();
        let stopped = self.context.watchdog.stopped.clone();
        let link = self.link;
        let lost = link.wait_lost();
        tokio::pin!(lost);
        loop {
            self.context.frames.tally.lock().in_flight = self.actions.len() as u64;
            if let Some(deadline) = self.drain
                && (self.actions.is_empty() || Instant::now() >= deadline)
            {
                return Ok(());
            }
            let places = usize::from(self.settings.connector.shared.concurrency_max);
            let until = [self.drain, self.paused_until].into_iter().flatten().min();
            tokio::select! {
                Ok(()) = self.context.desired.changed() => self.apply_desired(),
                Some((id, sent)) = self.actions.next(), if !self.actions.is_empty() => {
                    self.under_way.remove(&id);
                    self.report_outcome(id, sent).await;
                }
                Some(pending) = self.context.sends.recv(), if self.drain.is_none() && self.paused_until.is_none() && self.actions.len() < places => {
                    self.begin(pending).await;
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    if self.paused_until.is_some_and(|at| Instant::now() >= at) {
                        self.check_lease();
                    }
                }
                error = &mut lost => return Err(error),
                () = stopped.notified() => self.check_lease(),
            }
        }
    }

    /// Compares the desired state with what the session does.
    fn apply_desired(&mut self) {
        let desired = self.context.desired.borrow_and_update().clone();
        let settings = desired.configure.as_deref().map(RoleSettings::read);
        match settings {
            Some(Ok(settings))
                if desired.act == Some(self.reign) && self.settings.same_session(&settings) =>
            {
                self.settings = settings;
            }
            _ => self.begin_drain(desired.drain),
        }
    }

    /// Stops beginning sends; those under way may finish within this time.
    fn begin_drain(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        self.drain = Some(self.drain.map_or(deadline, |earlier| earlier.min(deadline)));
        self.context.watchdog.disarm();
    }

    /// Checks the lease page: goes on, stands still, or begins to drain.
    fn check_lease(&mut self) {
        self.paused_until = None;
        if self.drain.is_some() {
            return;
        }
        match self.context.tenure(self.reign.epoch) {
            LeaseTenure::Runs(_) => {}
            LeaseTenure::Lapsed(..) => {
                self.paused_until = Some(Instant::now() + LEASE_POLL_INTERVAL)
            }
            LeaseTenure::Over => self.begin_drain(DRAIN_TIMEOUT_DEFAULT),
        }
    }

    /// Sends a message, if the lease lets it and somebody still waits for it.
    async fn begin(&mut self, pending: PendingSend) {
        let id = pending.send.send;
        let left = pending.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return self.report_outcome(id, late()).await;
        }
        if !self.context.lease.holds(self.reign.epoch) {
            self.check_lease();
            return self.report_outcome(id, over()).await;
        }
        let proto::Send {
            message_id,
            content_type,
            headers,
            properties,
            body,
            cid,
            types,
            ..
        } = pending.send;
        let message = OutgoingMessage {
            message_id,
            content_type,
            headers,
            types,
            properties,
            body,
            cid,
            within: left,
        };
        let sender = self.sender.clone();
        let span = debug_span!(
            "message",
            cid = message.cid,
            connector = self.context.label,
            epoch = self.reign.epoch
        );
        self.under_way.insert(id);
        let outgoing = async move {
            // The sender watches its deadline itself, and knows better how far the send came.
            let sent = timeout(message.within + SLACK, sender.send(&message)).await;
            (id, sent.unwrap_or_else(|_| unanswered()))
        };
        self.actions.push(outgoing.instrument(span).boxed());
    }

    /// Reports an outcome for each message that is left.
    async fn settle_rest(&mut self, worked: &Result<(), ConnectorError>) {
        // Closing ends the sends that have not begun.
        if worked.is_ok() && !self.actions.is_empty() {
            let _ = timeout(CLOSING, self.sender.clone().close()).await;
        }
        // Sends that have ended by now have their own outcome. Each is polled, since one that the
        // lost connection ends may not have been woken for it yet: it knows that nothing of it
        // was sent, and "unknown" would keep it from being tried again.
        for action in std::mem::take(&mut self.actions) {
            if let Some((id, sent)) = action.now_or_never() {
                self.under_way.remove(&id);
                self.report_outcome(id, sent).await;
            }
        }
        let why = match worked {
            Ok(()) => "it did not finish before the session was ended".to_owned(),
            Err(error) => error.text.clone(),
        };
        for id in std::mem::take(&mut self.under_way) {
            self.report_outcome(id, SendOutcome::Unknown(why.clone()))
                .await;
        }
        self.context.frames.tally.lock().in_flight = 0;
    }

    async fn report_outcome(&mut self, id: u64, sent: SendOutcome) {
        self.count(&sent);
        let sent = proto::Sent {
            send: id,
            outcome: Some(sent.into()),
        };
        self.context.frames.send(Frame::Sent(sent)).await;
    }

    fn count(&self, sent: &SendOutcome) {
        let mut tally = self.context.frames.tally.lock();
        match sent {
            SendOutcome::Confirmed { .. } => tally.sent += 1,
            SendOutcome::Refused(_) | SendOutcome::Full(_) => tally.refused += 1,
            SendOutcome::Unknown(_) => tally.unknown += 1,
            SendOutcome::NotSent(_) => {}
        }
    }
}

fn late() -> SendOutcome {
    SendOutcome::NotSent("its time was over before it could be sent".into())
}

fn over() -> SendOutcome {
    SendOutcome::NotSent("the lease of this connector server is over".into())
}

fn unanswered() -> SendOutcome {
    SendOutcome::Unknown("there was no answer in time".into())
}
