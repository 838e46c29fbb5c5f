//! Session of a channel: messages in, hand-offs out, answers back, and settling.
//!
//! The lease is checked before each hand-off and before each dead-letter publish, never before an
//! ack: once the service has succeeded the message is done, whatever the lease says. While the
//! lease has lapsed and may be renewed the session stands still, with all that it holds.
//!
//! # Order
//!
//! The unsettled messages of a channel with `ordered` come before all that are in the queue, so no
//! other consumer may be let in before they are back. The broker does both at once when the session
//! closes, and only then: so a drain leaves the consumer where it is until the message that is with
//! the service has been settled, and a session that has lost its lease, or that could not settle a
//! message, ends as a whole. The message that was with the service then comes again, before those
//! after it.

mod hand_on;
mod lease_check;
mod receive;
mod service_answer;
mod settle;

use std::{marker::PhantomData, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Fuse},
    stream::FuturesUnordered,
};
use quorate_clock::Instant;
use quorate_ipc::{ConnectorSettings, DeliverySettings};
use quorate_proto::connector::{Progress, from_process::Frame};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::Instrument;

use super::{
    broker_link::{ConnectorError, ConsumerSession, InboundLink},
    in_flight::InFlightSet,
    process_context::{ProcessContext, ProcessReign},
    progress::ProgressTracker,
    role::{ConnectorRole, RoleSettings, ServeOutcome},
};

/// Shortest time between two queries of how many messages wait.
const ASK_WAITING: Duration = Duration::from_secs(1);

/// Role of a channel: it consumes.
pub(crate) struct ChannelRole<L>(PhantomData<L>);

impl<L: InboundLink> ConnectorRole for ChannelRole<L> {
    type Link = L;
    type Resource = L::Source;
    type Session = L::Session;

    fn same_session(
        before: &ConnectorSettings<L::Source>,
        now: &ConnectorSettings<L::Source>,
    ) -> bool {
        let key = |it: &DeliverySettings| (it.prefetch, it.ordered);
        key(&before.shared) == key(&now.shared)
            && L::session_key(&before.resource) == L::session_key(&now.resource)
    }

    fn progress_of(link: &L, settings: &RoleSettings<Self>) -> String {
        link.source_name(&settings.connector.resource)
    }

    async fn open(
        link: &L,
        settings: &RoleSettings<Self>,
        epoch: Option<u64>,
        progress: &ProgressTracker,
    ) -> Result<L::Session, ConnectorError> {
        let prefetch = settings.connector.shared.prefetch;
        link.open(
            &settings.connector.resource,
            prefetch,
            epoch,
            progress.offset(),
        )
        .await
    }

    async fn serve(
        context: &mut ProcessContext,
        link: &L,
        session: L::Session,
        settings: RoleSettings<Self>,
        reign: ProcessReign,
    ) -> ServeOutcome<L::Session> {
        ChannelSession::new(context, link, session, settings, reign)
            .serve()
            .await
    }

    async fn is_taken(link: &L, settings: &RoleSettings<Self>) -> Option<bool> {
        link.is_taken(&settings.connector.resource).await
    }

    async fn close(session: L::Session) {
        session.close().await;
    }
}

/// Action on a message at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SettleAction {
    Ack,
    /// Ack of a message that was dead-lettered.
    AckDeadLettered,
    Reject,
    /// Requeue: the message is fetched again after this time at the earliest.
    Requeue(Duration),
    DeadLetter,
}

type SettleResult = (u64, SettleAction, Result<(), ConnectorError>);

/// Open session that consumes.
struct ChannelSession<'a, L: InboundLink> {
    context: &'a mut ProcessContext,
    link: &'a L,
    session: L::Session,
    acknowledger: <L::Session as ConsumerSession>::Acknowledger,
    settings: RoleSettings<ChannelRole<L>>,
    reign: ProcessReign,
    in_flight: InFlightSet<<L::Session as ConsumerSession>::Token>,
    actions: FuturesUnordered<BoxFuture<'static, SettleResult>>,
    /// Deadline of the drain, once the session has to end.
    drain: Option<Instant>,
    /// Time of the next lease check, while the session stands still after a lapse.
    paused_until: Option<Instant>,
    /// True while the parent has a report of an error, the dead-letter queue's for one.
    error_reported: bool,
    /// True if the next handled message ends the reported error.
    until_handled: bool,
}

impl<'a, L: InboundLink> ChannelSession<'a, L> {
    fn delivery(&self) -> &DeliverySettings {
        &self.settings.connector.shared
    }

    /// Wraps an open session.
    fn new(
        context: &'a mut ProcessContext,
        link: &'a L,
        session: L::Session,
        settings: RoleSettings<ChannelRole<L>>,
        reign: ProcessReign,
    ) -> Self {
        let acknowledger = session.acknowledger();
        let (messages, actions) = (InFlightSet::default(), FuturesUnordered::new());
        let until_handled = context.complaint.take().is_some();
        context.progress.session_begins();
        ChannelSession {
            context,
            link,
            session,
            acknowledger,
            settings,
            reign,
            in_flight: messages,
            actions,
            drain: None,
            paused_until: None,
            error_reported: until_handled,
            until_handled,
        }
    }

    /// Serves until the session is drained or ends.
    async fn serve(mut self) -> ServeOutcome<L::Session> {
        let served = self.work().await;
        if let Err(error) = &served
            && error.until_handled
        {
            self.count_overlong();
        }
        self.save_progress().await;
        let mut tally = self.context.frames.tally.lock();
        (tally.in_flight, tally.waiting) = (0, None);
        drop(tally);
        match served {
            Ok(()) => ServeOutcome::Drained(self.session),
            Err(error) => ServeOutcome::Ended(error),
        }
    }

    async fn work(&mut self) -> Result<(), ConnectorError> {
        // Orders that came since the session was asked for.
        self.apply_desired().await?;
        // And the state of the lease since then.
        self.check_lease().await?;
        let stopped = self.context.watchdog.stopped.clone();
        let link = self.link;
        let mut ask = interval(self.settings.drain_timeout.max(ASK_WAITING));
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: Fuse<BoxFuture<'_, Option<u64>>> = Fuse::terminated();
        loop {
            self.admit().await?;
            self.context.frames.tally.lock().in_flight = self.in_flight.len() as u64;
            if let Some(deadline) = self.drain
                && (!self.in_flight.blocks_drain() || Instant::now() >= deadline)
            {
                return Ok(());
            }
            let keep = self.context.progress.due();
            let due = [
                self.in_flight.next_due(),
                self.drain,
                self.paused_until,
                keep,
            ]
            .into_iter()
            .flatten()
            .min();
            tokio::select! {
                Ok(()) = self.context.desired.changed() => self.apply_desired().await?,
                Some(outcome) = self.context.outcomes.recv() => {
                    let span = self.in_flight.span(outcome.delivery);
                    self.answered(outcome).instrument(span).await?;
                }
                Some((id, action, result)) = self.actions.next(), if !self.actions.is_empty() => {
                    let span = self.in_flight.span(id);
                    self.on_settled(id, action, result).instrument(span).await?;
                }
                message = self.session.next(), if self.drain.is_none() && self.paused_until.is_none() => {
                    let (token, message) = message?;
                    self.received(token, message);
                }
                _ = ask.tick(), if self.drain.is_none() => {
                    let source = self.settings.connector.resource.clone();
                    asked = async move { link.waiting_count(&source).await }.boxed().fuse();
                }
                waiting = &mut asked => self.context.frames.tally.lock().waiting = waiting,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    while let Some((id, state)) = self.in_flight.pop_due(Instant::now()) {
                        self.resume(id, state).await?;
                    }
                    if self.paused_until.is_some_and(|at| Instant::now() >= at) {
                        self.check_lease().await?;
                    }
                    if keep.is_some_and(|at| Instant::now() >= at) {
                        self.save_progress().await;
                    }
                }
                () = stopped.notified() => self.check_lease().await?,
            }
        }
    }

    /// Sends the progress to be written, if it has changed.
    async fn save_progress(&mut self) {
        if let Some(progress) = self.context.progress.write() {
            self.context
                .frames
                .send(Frame::Progress(Progress { progress }))
                .await;
        }
    }
}
