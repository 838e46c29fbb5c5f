//! Messages in flight, and what happens to those that were not handled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_clock::Instant;
use quorate_proto::connector::Reply;
use quorate_types::backoff;
use serde::Deserialize;

use super::{broker_link::IncomingMessage, progress::MessageFingerprint};

/// How long "no member could run the service" doesn't count as a failure of the message.
/// A cluster that is electing or restarting is back long before; a service that nobody
/// can reach must not hold up its queue for ever.
pub const NOT_RUN_GRACE: Duration = Duration::from_secs(10);
const NOT_RUN_FIRST: Duration = Duration::from_millis(50);
const NOT_RUN_LAST: Duration = Duration::from_secs(1);

/// The part of a channel that says what to do with a message that was not handled.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FailurePolicy {
    /// Further tries before it is given up.
    pub retries: u32,
    /// Before the first of them, in milliseconds.
    pub backoff_ms: u64,
    /// The longest wait, in milliseconds.
    pub backoff_max_ms: u64,
    /// The queue for messages that are given up.
    #[serde(default)]
    pub dead_letter: Option<String>,
}

impl FailurePolicy {
    /// The wait after `n` earlier ones.
    pub fn wait(&self, n: u32) -> Duration {
        backoff::nth(
            Duration::from_millis(self.backoff_ms),
            Duration::from_millis(self.backoff_max_ms),
            n,
        )
    }
}

/// The channel's fields that mean the same for every kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeliverySettings {
    /// Most messages that are unsettled.
    pub prefetch: u16,
    /// Most messages that are with the service.
    pub pool_size: u16,
    /// One message is settled before the next is handed on.
    pub ordered: bool,
    /// What to do with a message that was not handled.
    pub on_failure: FailurePolicy,
}

impl DeliverySettings {
    /// How many messages can be with the service at a time.
    pub fn concurrency_max(&self) -> usize {
        usize::from(if self.ordered { 1 } else { self.pool_size })
    }
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlightState {
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

/// One message in flight.
pub struct InFlightMessage<T> {
    /// How the broker knows it.
    pub token: T,
    /// The message.
    pub message: Arc<IncomingMessage>,
    /// Its correlation id.
    pub cid: String,
    /// Which try this is: 1 for the first.
    pub attempt: u32,
    /// Where it is.
    pub state: InFlightState,
    /// Tries that no member could run, and when they began.
    pub not_run: Option<(Instant, u32)>,
    /// Tries to bury it.
    pub dead_letter_attempts: u32,
    /// Its last failure.
    pub reason: String,
    /// The service's answer.
    pub reply: Reply,
    /// What its tries are kept by, once there are any.
    pub fingerprint: Option<MessageFingerprint>,
    /// It was given up without asking the service, so nobody but this process knows why.
    pub undelivered: bool,
    /// When it came.
    pub received_at: Instant,
    /// When it was handed on last.
    pub handed_on_at: Option<Instant>,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again after this time; `counted` as a retry.
    Retry(Duration),
    /// It has had its tries.
    GiveUp,
}

impl<T> InFlightMessage<T> {
    /// A message that has just come.
    pub fn new(token: T, message: IncomingMessage, cid: String) -> Self {
        InFlightMessage {
            token,
            message: Arc::new(message),
            cid,
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

    /// Whether the call that it is in has taken most of the time that it has been here.
    pub fn is_overlong(&self, now: Instant) -> bool {
        self.state == InFlightState::Running
            && self.handed_on_at.is_some_and(|at| {
                now.duration_since(at) * 2 >= now.duration_since(self.received_at)
            })
    }

    /// The service failed.
    pub fn failed(&mut self, policy: &FailurePolicy, reason: String) -> RetryDecision {
        self.reason = reason;
        self.not_run = None;
        if self.attempt > policy.retries {
            return RetryDecision::GiveUp;
        }
        let wait = policy.wait(self.attempt - 1);
        self.attempt += 1;
        RetryDecision::Retry(wait)
    }

    /// No member could run the service: free of charge for a while.
    pub fn not_run(
        &mut self,
        policy: &FailurePolicy,
        reason: String,
        now: Instant,
    ) -> RetryDecision {
        let (since, tries) = self.not_run.unwrap_or((now, 0));
        if now.duration_since(since) >= NOT_RUN_GRACE {
            let verdict = self.failed(policy, reason);
            // The grace is spent: further ones count at once.
            self.not_run = Some((since, tries));
            return verdict;
        }
        self.reason = reason;
        self.not_run = Some((since, tries + 1));
        RetryDecision::Retry(backoff::nth(NOT_RUN_FIRST, NOT_RUN_LAST, tries))
    }
}

/// All messages in flight, in the order in which they came, and when the waiting ones are due.
pub struct InFlightSet<T> {
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
    /// Adds one that is to be handed on.
    pub fn queue(&mut self, id: u64, flight: InFlightMessage<T>) {
        self.by_id.insert(id, flight);
        self.set_state(id, InFlightState::Queued);
    }

    /// Which is to be handed on now: the one that came first, if it has a place. In order, none
    /// before all that came earlier are settled.
    pub fn next_in_turn(&self, ordered: bool, places: usize) -> Option<u64> {
        let first = *self.queued.first()?;
        let in_turn = !ordered
            || self
                .by_id
                .first_key_value()
                .is_some_and(|(id, _)| *id == first);
        (self.running < places && in_turn).then_some(first)
    }

    /// Moves one.
    pub fn set_state(&mut self, id: u64, stage: InFlightState) {
        let Some(flight) = self.by_id.get_mut(&id) else {
            return;
        };
        self.running -= usize::from(flight.state == InFlightState::Running);
        self.running += usize::from(stage == InFlightState::Running);
        flight.state = stage;
        if stage == InFlightState::Queued {
            self.queued.insert(id);
        } else {
            self.queued.remove(&id);
        }
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<&InFlightMessage<T>> {
        self.by_id.get(&id)
    }

    /// The one that came first.
    pub fn oldest_mut(&mut self) -> Option<&mut InFlightMessage<T>> {
        self.by_id.values_mut().next()
    }

    /// One of them, to be changed.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut InFlightMessage<T>> {
        self.by_id.get_mut(&id)
    }

    /// Takes one out.
    pub fn remove(&mut self, id: u64) -> Option<InFlightMessage<T>> {
        // Out of the places that its stage takes.
        self.set_state(id, InFlightState::Settling);
        self.by_id.remove(&id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether any of them is where a drain must wait for it: with the service, or being
    /// settled or buried. Those that wait for another try go back to the queue instead.
    pub fn blocks_drain(&self) -> bool {
        self.by_id.values().any(|flight| {
            matches!(
                flight.state,
                InFlightState::Running | InFlightState::Settling | InFlightState::DeadLettering
            )
        })
    }

    /// Puts one aside until then.
    pub fn wait(&mut self, id: u64, stage: InFlightState, until: Instant) {
        if self.by_id.contains_key(&id) {
            self.set_state(id, stage);
            self.due.insert((until, id));
        }
    }

    /// When the first of those put aside is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The first that is due, with what it was put aside for.
    pub fn pop_due(&mut self, now: Instant) -> Option<(u64, InFlightState)> {
        loop {
            let (at, id) = *self.due.first()?;
            if at > now {
                return None;
            }
            self.due.pop_first();
            if let Some(flight) = self.by_id.get(&id) {
                return Some((id, flight.state));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> FailurePolicy {
        FailurePolicy {
            retries: 2,
            backoff_ms: 100,
            backoff_max_ms: 150,
            dead_letter: None,
        }
    }

    fn flight() -> InFlightMessage<u64> {
        InFlightMessage::new(1, IncomingMessage::default(), "K".to_owned())
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    // guarantee: MESSAGE-8
    #[test]
    fn a_message_gets_its_retries_with_backoff_and_no_more() {
        let mut flight = flight();
        assert_eq!(
            flight.failed(&policy(), "a".into()),
            RetryDecision::Retry(ms(100))
        );
        assert_eq!(flight.attempt, 2);
        assert_eq!(
            flight.failed(&policy(), "b".into()),
            RetryDecision::Retry(ms(150))
        );
        assert_eq!(flight.failed(&policy(), "c".into()), RetryDecision::GiveUp);
        assert_eq!((flight.attempt, flight.reason.as_str()), (3, "c"));
        let none = FailurePolicy {
            retries: 0,
            ..policy()
        };
        assert_eq!(
            self::flight().failed(&none, "d".into()),
            RetryDecision::GiveUp
        );
    }

    // guarantee: MESSAGE-8
    #[test]
    fn a_cluster_that_is_briefly_away_costs_no_attempt() {
        let (mut flight, start) = (flight(), Instant::now());
        for n in 0..100 {
            let verdict = flight.not_run(&policy(), "nobody".into(), start + ms(n * 99));
            assert!(matches!(verdict, RetryDecision::Retry(wait) if wait <= NOT_RUN_LAST));
            assert_eq!(flight.attempt, 1);
        }
    }

    #[test]
    fn a_service_that_stays_away_is_given_up_in_the_end() {
        let (mut flight, start) = (flight(), Instant::now());
        flight.not_run(&policy(), "nobody".into(), start);
        let later = start + NOT_RUN_GRACE;
        assert_eq!(
            flight.not_run(&policy(), "nobody".into(), later),
            RetryDecision::Retry(ms(100))
        );
        assert_eq!(
            flight.not_run(&policy(), "nobody".into(), later),
            RetryDecision::Retry(ms(150))
        );
        assert_eq!(
            flight.not_run(&policy(), "nobody".into(), later),
            RetryDecision::GiveUp
        );
    }

    #[test]
    fn a_failure_in_between_renews_the_grace() {
        let (mut flight, start) = (flight(), Instant::now());
        let policy = FailurePolicy {
            retries: 9,
            ..policy()
        };
        flight.not_run(&policy, "nobody".into(), start);
        flight.failed(&policy, "500".into());
        flight.not_run(&policy, "nobody".into(), start + NOT_RUN_GRACE);
        assert_eq!(flight.attempt, 2);
    }

    // guarantee: MESSAGE-9
    #[test]
    fn a_call_is_overlong_that_takes_most_of_the_time_of_its_message() {
        let mut flight = flight();
        let now = flight.received_at + ms(100);
        flight.state = InFlightState::Running;
        assert!(!flight.is_overlong(now));
        flight.handed_on_at = Some(flight.received_at + ms(10));
        assert!(flight.is_overlong(now));
        // It waited for its turn for longer.
        flight.handed_on_at = Some(flight.received_at + ms(60));
        assert!(!flight.is_overlong(now));
        flight.handed_on_at = Some(flight.received_at);
        flight.state = InFlightState::RetryDelayed;
        assert!(!flight.is_overlong(now));
    }

    #[test]
    fn what_is_due_comes_in_order_and_only_if_still_there() {
        let mut flights = InFlightSet::default();
        let now = Instant::now();
        for id in 1..=3 {
            flights.queue(id, flight());
        }
        flights.wait(1, InFlightState::RetryDelayed, now + ms(20));
        flights.wait(2, InFlightState::DeadLetterDelayed, now + ms(10));
        flights.wait(3, InFlightState::RetryDelayed, now + ms(5));
        flights.remove(3);
        assert_eq!(flights.next_due(), Some(now + ms(5)));
        assert_eq!(flights.pop_due(now), None);
        assert_eq!(
            flights.pop_due(now + ms(15)),
            Some((2, InFlightState::DeadLetterDelayed))
        );
        assert_eq!(flights.pop_due(now + ms(15)), None);
        assert_eq!(
            flights.pop_due(now + ms(20)),
            Some((1, InFlightState::RetryDelayed))
        );
        assert_eq!(flights.next_due(), None);
    }

    #[test]
    fn a_drain_waits_only_for_what_is_under_way() {
        let mut flights = InFlightSet::default();
        flights.queue(1, flight());
        assert!(!flights.blocks_drain());
        flights.set_state(1, InFlightState::Running);
        assert!(flights.blocks_drain());
        flights.wait(1, InFlightState::RetryDelayed, Instant::now());
        assert!(!flights.blocks_drain());
        flights.set_state(1, InFlightState::Settling);
        assert!(flights.blocks_drain());
    }

    #[test]
    fn places_are_taken_by_what_runs_and_given_in_order() {
        let mut flights = InFlightSet::default();
        for id in 1..=3 {
            flights.queue(id, flight());
        }
        assert_eq!(flights.next_in_turn(false, 2), Some(1));
        flights.set_state(1, InFlightState::Running);
        assert_eq!(flights.next_in_turn(false, 2), Some(2));
        flights.set_state(2, InFlightState::Running);
        assert_eq!(flights.next_in_turn(false, 2), None);
        // One that waits for its next try leaves its place to others, and comes before them.
        flights.wait(1, InFlightState::RetryDelayed, Instant::now());
        assert_eq!(flights.next_in_turn(false, 2), Some(3));
        flights.set_state(1, InFlightState::Queued);
        assert_eq!(flights.next_in_turn(false, 2), Some(1));
        flights.remove(2);
        flights.remove(1);
        assert_eq!(flights.next_in_turn(false, 2), Some(3));
    }

    #[test]
    fn in_order_none_goes_before_all_earlier_ones_are_settled() {
        let mut flights = InFlightSet::default();
        for id in 1..=2 {
            flights.queue(id, flight());
        }
        assert_eq!(flights.next_in_turn(true, 1), Some(1));
        for stage in [
            InFlightState::Running,
            InFlightState::RetryDelayed,
            InFlightState::Settling,
            InFlightState::DeadLetterDelayed,
        ] {
            flights.set_state(1, stage);
            assert_eq!(flights.next_in_turn(true, 1), None, "{stage:?}");
        }
        flights.remove(1);
        assert_eq!(flights.next_in_turn(true, 1), Some(2));
    }
}
