//! Delivery policy: retries and dead letters, which channels of several kinds share.

use serde_json::Value;

use crate::{
    declaration::{DeclaredKind, choices, declare},
    field_reader::FieldReader,
    field_rules::{number, optional},
    text_rules,
};

/// The longest wait between two tries, in milliseconds: a day.
const BACKOFF_MS_MAX: u64 = 86_400_000;

choices! {
    /// What the members that don't run a channel have of it.
    pub enum StandbyMode {
        /// On every other voter a process that is connected and consumes nothing.
        Warm = "warm",
        /// Nothing: for brokers that count connections. A takeover starts the process.
        Cold = "cold",
    }
}

declare! {
    /// What happens to a message that its service did not handle.
    pub struct DeliveryPolicy {
        /// Further tries before it is dead-lettered.
        retries: u32 = number(5, 0..=100);
        /// Before the first further try, in milliseconds; doubles each time.
        backoff_ms: u64 = number(200, 1..=BACKOFF_MS_MAX);
        /// The longest of these, in milliseconds.
        backoff_max_ms: u64 = number(30_000, 1..=BACKOFF_MS_MAX);
        /// The queue for messages that failed for good, reached through the default exchange.
        /// Without one they are rejected, so that the queue's own dead-letter exchange takes
        /// them.
        dead_letter: Option<String> = optional(text_rules::amqp_text),
            then backoff_grows(backoff_ms, backoff_max_ms);
    }
}

fn backoff_grows(fields: &mut FieldReader<'_>, least: &u64, most: &u64) {
    if most < least {
        let problem = format!("must be at least backoff_ms, which is {least}");
        fields.refuse("backoff_max_ms", &most.to_string(), problem);
    }
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        DeliveryPolicy::read(&Value::Object(Default::default())).value
    }
}

impl DeliveryPolicy {
    /// Returns the wait before the next try, after `n` earlier waits, in milliseconds.
    pub fn wait_ms(&self, n: u32) -> u64 {
        let doubled = 1_u64
            .checked_shl(n)
            .and_then(|it| self.backoff_ms.checked_mul(it));
        doubled.unwrap_or(u64::MAX).min(self.backoff_max_ms)
    }

    /// Returns the sum of a message's waits before its last try, in milliseconds.
    pub(super) fn waits_ms(&self) -> u64 {
        let waits = (0..self.retries).map(|n| self.wait_ms(n));
        waits.fold(0, u64::saturating_add)
    }
}
