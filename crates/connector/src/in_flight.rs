//! Messages in flight: their states, retries and due times.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_clock::Instant;
use quorate_proto::connector::Reply;
use quorate_resources::DeliveryPolicy;
use quorate_types::backoff;
use tracing::Span;

use super::{broker_link::IncomingMessage, progress::MessageFingerprint};

/// Time for which "no member could run the service" doesn't count as a failure of the message. A
/// cluster that is electing or restarting is back long before; a service that nobody can reach must
/// not hold up its queue for ever.
pub(crate) const NOT_RUN_GRACE: Duration = Duration::from_secs(10);
const NOT_RUN_FIRST: Duration = Duration::from_millis(50);
const NOT_RUN_LAST: Duration = Duration::from_secs(1);

/// State of a message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InFlightState {
    /// Waiting for its turn.
    Queued,
    /// With the service.
    Running,
    /// Waiting for its next try.
    RetryDelayed,
    /// Being acked, rejected or given back.
    Settling,
    /// Being put into the dead-letter queue.
    DeadLettering,
    /// Waiting to be put into the dead-letter queue.
    DeadLetterDelayed,
    /// Fenced: goes back to the queue after a wait.
    RequeueDelayed,
}

/// Message in flight.
pub(crate) struct InFlightMessage<T> {
    /// Token by which the broker knows the message.
    pub token: T,
    pub message: Arc<IncomingMessage>,
    pub cid: String,
    /// Span of all that is done for the message.
    pub span: Span,
    /// Number of this try: 1 for the first.
    pub attempt: u32,
    pub state: InFlightState,
    /// Beginning and number of tries that no member could run.
    pub not_run: Option<(Instant, u32)>,
    /// Tries to dead-letter the message.
    pub dead_letter_attempts: u32,
    pub reason: String,
    pub reply: Reply,
    /// Key under which the tries are kept, once there are any.
    pub fingerprint: Option<MessageFingerprint>,
    /// True if the message was given up without asking the service, so only this process knows why.
    pub undelivered: bool,
    pub received_at: Instant,
    pub handed_on_at: Option<Instant>,
}

/// Decision after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// Try again after this time.
    Retry(Duration),
    /// Give up: the message has had its tries.
    GiveUp,
}

impl<T> InFlightMessage<T> {
    /// Returns a message that has just arrived.
    pub(crate) fn new(token: T, message: IncomingMessage, cid: String, span: Span) -> Self {
        InFlightMessage {
            token,
            message: Arc::new(message),
            cid,
            span,
            attempt: 1,
            state: InFlightState::Queued,
            not_run: None,
            dead_letter_attempts: 0,
            reason: String::new(),
            reply: Reply::default(),
            fingerprint: None,
            undelivered: false,
            received_at: Instant::now(),
            handed_on_at: None,
        }
    }

    /// Returns true if the running call has taken most of the time since the message arrived.
    pub(crate) fn is_overlong(&self, now: Instant) -> bool {
        self.state == InFlightState::Running
            && self.handed_on_at.is_some_and(|at| {
                now.duration_since(at) * 2 >= now.duration_since(self.received_at)
            })
    }

    /// Counts a failure of the service.
    pub(crate) fn failed(&mut self, policy: &DeliveryPolicy, reason: String) -> RetryDecision {
        self.reason = reason;
        self.not_run = None;
        if self.attempt > policy.retries {
            return RetryDecision::GiveUp;
        }
        let wait = Duration::from_millis(policy.wait_ms(self.attempt - 1));
        self.attempt += 1;
        RetryDecision::Retry(wait)
    }

    /// Notes that no member could run the service: not counted as a try until [`NOT_RUN_GRACE`] is
    /// over.
    pub(crate) fn not_run(
        &mut self,
        policy: &DeliveryPolicy,
        reason: String,
        now: Instant,
    ) -> RetryDecision {
        let (since, tries) = self.not_run.unwrap_or((now, 0));
        if now.duration_since(since) >= NOT_RUN_GRACE {
            let decision = self.failed(policy, reason);
            // The grace is spent: further ones count at once.
            self.not_run = Some((since, tries));
            return decision;
        }
        self.reason = reason;
        self.not_run = Some((since, tries + 1));
        RetryDecision::Retry(backoff::nth(NOT_RUN_FIRST, NOT_RUN_LAST, tries))
    }
}

/// Messages in flight in order of arrival, with the due times of those that wait.
pub(crate) struct InFlightSet<T> {
    by_id: BTreeMap<u64, InFlightMessage<T>>,
    queued: BTreeSet<u64>,
    running: usize,
    due: BTreeSet<(Instant, u64)>,
}

impl<T> Default for InFlightSet<T> {
    fn default() -> Self {
        InFlightSet {
            by_id: BTreeMap::new(),
            queued: BTreeSet::new(),
            running: 0,
            due: BTreeSet::new(),
        }
    }
}

impl<T> InFlightSet<T> {
    /// Adds a message that has to be handed on.
    pub(crate) fn queue(&mut self, id: u64, entry: InFlightMessage<T>) {
        self.by_id.insert(id, entry);
        self.set_state(id, InFlightState::Queued);
    }

    /// Returns the message to be handed on now: the oldest queued one, if there is room for it. In
    /// order, none goes before all earlier ones are settled.
    pub(crate) fn next_in_turn(&self, ordered: bool, places: usize) -> Option<u64> {
        let first = *self.queued.first()?;
        let in_turn = !ordered
            || self
                .by_id
                .first_key_value()
                .is_some_and(|(id, _)| *id == first);
        (self.running < places && in_turn).then_some(first)
    }

    /// Moves a message to another state.
    pub(crate) fn set_state(&mut self, id: u64, state: InFlightState) {
        let Some(entry) = self.by_id.get_mut(&id) else {
            return;
        };
        self.running -= usize::from(entry.state == InFlightState::Running);
        self.running += usize::from(state == InFlightState::Running);
        entry.state = state;
        if state == InFlightState::Queued {
            self.queued.insert(id);
        } else {
            self.queued.remove(&id);
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&InFlightMessage<T>> {
        self.by_id.get(&id)
    }

    /// Returns the span of a message.
    pub(crate) fn span(&self, id: u64) -> Span {
        self.by_id
            .get(&id)
            .map_or_else(Span::none, |entry| entry.span.clone())
    }

    /// Returns the oldest message.
    pub(crate) fn oldest_mut(&mut self) -> Option<&mut InFlightMessage<T>> {
        self.by_id.values_mut().next()
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut InFlightMessage<T>> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<InFlightMessage<T>> {
        // This frees the place that its state takes.
        self.set_state(id, InFlightState::Settling);
        self.by_id.remove(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns true if a drain has to wait for a message: one with the service, or being settled or
    /// dead-lettered. Messages that wait for another try go back to the queue instead.
    pub(crate) fn blocks_drain(&self) -> bool {
        self.by_id.values().any(|entry| {
            matches!(
                entry.state,
                InFlightState::Running | InFlightState::Settling | InFlightState::DeadLettering
            )
        })
    }

    /// Sets a message aside, in `state`, until then.
    pub(crate) fn wait(&mut self, id: u64, state: InFlightState, until: Instant) {
        if self.by_id.contains_key(&id) {
            self.set_state(id, state);
            self.due.insert((until, id));
        }
    }

    /// Returns when the first of the messages set aside is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Removes the first due time that has passed; returns its message and the state in which that
    /// was set aside.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(u64, InFlightState)> {
        loop {
            let (at, id) = *self.due.first()?;
            if at > now {
                return None;
            }
            self.due.pop_first();
            if let Some(entry) = self.by_id.get(&id) {
                return Some((id, entry.state));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> DeliveryPolicy {
        DeliveryPolicy {
            retries: 2,
            backoff_ms: 100,
            backoff_max_ms: 150,
            dead_letter: None,
        }
    }

    fn entry() -> InFlightMessage<u64> {
        InFlightMessage::new(1, IncomingMessage::default(), "K".to_owned(), Span::none())
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    // guarantee: MESSAGE-8
    #[test]
    fn retries_are_bounded_and_backed_off() {
        let mut entry = entry();
        assert_eq!(
            entry.failed(&policy(), "a".into()),
            RetryDecision::Retry(ms(100))
        );
        assert_eq!(entry.attempt, 2);
        assert_eq!(
            entry.failed(&policy(), "b".into()),
            RetryDecision::Retry(ms(150))
        );
        assert_eq!(entry.failed(&policy(), "c".into()), RetryDecision::GiveUp);
        assert_eq!((entry.attempt, entry.reason.as_str()), (3, "c"));
        let none = DeliveryPolicy {
            retries: 0,
            ..policy()
        };
        assert_eq!(
            self::entry().failed(&none, "d".into()),
            RetryDecision::GiveUp
        );
    }

    // guarantee: MESSAGE-8
    #[test]
    fn cluster_outage_costs_no_attempt() {
        let (mut entry, start) = (entry(), Instant::now());
        for n in 0..100 {
            let decision = entry.not_run(&policy(), "nobody".into(), start + ms(n * 99));
            assert!(matches!(decision, RetryDecision::Retry(wait) if wait <= NOT_RUN_LAST));
            assert_eq!(entry.attempt, 1);
        }
    }

    #[test]
    fn absent_service_is_given_up() {
        let (mut entry, start) = (entry(), Instant::now());
        entry.not_run(&policy(), "nobody".into(), start);
        let later = start + NOT_RUN_GRACE;
        assert_eq!(
            entry.not_run(&policy(), "nobody".into(), later),
            RetryDecision::Retry(ms(100))
        );
        assert_eq!(
            entry.not_run(&policy(), "nobody".into(), later),
            RetryDecision::Retry(ms(150))
        );
        assert_eq!(
            entry.not_run(&policy(), "nobody".into(), later),
            RetryDecision::GiveUp
        );
    }

    #[test]
    fn a_failure_in_between_renews_the_grace() {
        let (mut entry, start) = (entry(), Instant::now());
        let policy = DeliveryPolicy {
            retries: 9,
            ..policy()
        };
        entry.not_run(&policy, "nobody".into(), start);
        entry.failed(&policy, "500".into());
        entry.not_run(&policy, "nobody".into(), start + NOT_RUN_GRACE);
        assert_eq!(entry.attempt, 2);
    }

    // guarantee: MESSAGE-9
    #[test]
    fn call_taking_most_message_time_is_overlong() {
        let mut entry = entry();
        let now = entry.received_at + ms(100);
        entry.state = InFlightState::Running;
        assert!(!entry.is_overlong(now));
        entry.handed_on_at = Some(entry.received_at + ms(10));
        assert!(entry.is_overlong(now));
        // The message waited for its turn for longer.
        entry.handed_on_at = Some(entry.received_at + ms(60));
        assert!(!entry.is_overlong(now));
        entry.handed_on_at = Some(entry.received_at);
        entry.state = InFlightState::RetryDelayed;
        assert!(!entry.is_overlong(now));
    }

    #[test]
    fn due_messages_come_in_order_if_present() {
        let mut messages = InFlightSet::default();
        let now = Instant::now();
        for id in 1..=3 {
            messages.queue(id, entry());
        }
        messages.wait(1, InFlightState::RetryDelayed, now + ms(20));
        messages.wait(2, InFlightState::DeadLetterDelayed, now + ms(10));
        messages.wait(3, InFlightState::RetryDelayed, now + ms(5));
        messages.remove(3);
        assert_eq!(messages.next_due(), Some(now + ms(5)));
        assert_eq!(messages.pop_due(now), None);
        assert_eq!(
            messages.pop_due(now + ms(15)),
            Some((2, InFlightState::DeadLetterDelayed))
        );
        assert_eq!(messages.pop_due(now + ms(15)), None);
        assert_eq!(
            messages.pop_due(now + ms(20)),
            Some((1, InFlightState::RetryDelayed))
        );
        assert_eq!(messages.next_due(), None);
    }

    #[test]
    fn drain_waits_for_running_messages_only() {
        let mut messages = InFlightSet::default();
        messages.queue(1, entry());
        assert!(!messages.blocks_drain());
        messages.set_state(1, InFlightState::Running);
        assert!(messages.blocks_drain());
        messages.wait(1, InFlightState::RetryDelayed, Instant::now());
        assert!(!messages.blocks_drain());
        messages.set_state(1, InFlightState::Settling);
        assert!(messages.blocks_drain());
    }

    #[test]
    fn places_are_given_in_order() {
        let mut messages = InFlightSet::default();
        for id in 1..=3 {
            messages.queue(id, entry());
        }
        assert_eq!(messages.next_in_turn(false, 2), Some(1));
        messages.set_state(1, InFlightState::Running);
        assert_eq!(messages.next_in_turn(false, 2), Some(2));
        messages.set_state(2, InFlightState::Running);
        assert_eq!(messages.next_in_turn(false, 2), None);
        // A message that waits for its next try leaves its place to others, and comes before them.
        messages.wait(1, InFlightState::RetryDelayed, Instant::now());
        assert_eq!(messages.next_in_turn(false, 2), Some(3));
        messages.set_state(1, InFlightState::Queued);
        assert_eq!(messages.next_in_turn(false, 2), Some(1));
        messages.remove(2);
        messages.remove(1);
        assert_eq!(messages.next_in_turn(false, 2), Some(3));
    }

    #[test]
    fn ordered_message_waits_for_all_earlier_ones() {
        let mut messages = InFlightSet::default();
        for id in 1..=2 {
            messages.queue(id, entry());
        }
        assert_eq!(messages.next_in_turn(true, 1), Some(1));
        for state in [
            InFlightState::Running,
            InFlightState::RetryDelayed,
            InFlightState::Settling,
            InFlightState::DeadLetterDelayed,
        ] {
            messages.set_state(1, state);
            assert_eq!(messages.next_in_turn(true, 1), None, "{state:?}");
        }
        messages.remove(1);
        assert_eq!(messages.next_in_turn(true, 1), Some(2));
    }
}
