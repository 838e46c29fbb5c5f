//! How the messages of a channel are handled: what channels of several kinds share.

use serde::{Deserialize, Serialize};

use super::{field_reader::FieldReader, text_rules};

/// The longest wait between two tries, in milliseconds: a day.
const BACKOFF_MS_MAX: u64 = 86_400_000;

/// What the members that don't run a channel have of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyMode {
    /// On every other voter a process that is connected and consumes nothing.
    #[default]
    Warm,
    /// Nothing: for brokers that count connections. A takeover starts the process.
    Cold,
}

impl StandbyMode {
    pub(super) fn read(fields: &mut FieldReader<'_>) -> Self {
        let choices = [("warm", StandbyMode::Warm), ("cold", StandbyMode::Cold)];
        fields.one_of("standby", &choices).unwrap_or_default()
    }
}

/// What happens to a message that its service did not handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryPolicy {
    /// Further tries before it is dead-lettered.
    pub retries: u32,
    /// Before the first further try, in milliseconds; doubles each time.
    pub backoff_ms: u64,
    /// The longest of these, in milliseconds.
    pub backoff_max_ms: u64,
    /// The queue for messages that failed for good, reached through the default exchange.
    /// Without one they are rejected, so that the queue's own dead-letter exchange takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<String>,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        DeliveryPolicy {
            retries: 5,
            backoff_ms: 200,
            backoff_max_ms: 30_000,
            dead_letter: None,
        }
    }
}

impl DeliveryPolicy {
    /// How long a message waits in all before its last try, in milliseconds.
    pub(super) fn waits_ms(&self) -> u64 {
        let wait = |n: u32| {
            let doubled = 1_u64
                .checked_shl(n)
                .and_then(|it| self.backoff_ms.checked_mul(it));
            doubled.unwrap_or(u64::MAX).min(self.backoff_max_ms)
        };
        (0..self.retries).map(wait).fold(0, u64::saturating_add)
    }

    pub(super) fn read(outer: &mut FieldReader<'_>, queue: &str) -> Self {
        let default = DeliveryPolicy::default();
        let Some(mut fields) = outer.nested("on_failure") else {
            return default;
        };
        let it = DeliveryPolicy {
            retries: fields.number("retries", default.retries, 0..=100),
            backoff_ms: fields.number("backoff_ms", default.backoff_ms, 1..=BACKOFF_MS_MAX),
            backoff_max_ms: fields.number(
                "backoff_max_ms",
                default.backoff_max_ms,
                1..=BACKOFF_MS_MAX,
            ),
            dead_letter: fields.text("dead_letter", text_rules::amqp_text),
        };
        if it.backoff_max_ms < it.backoff_ms {
            fields.refuse(
                "backoff_max_ms",
                it.backoff_max_ms.to_string(),
                format!("must be at least backoff_ms, which is {}", it.backoff_ms),
            );
        }
        if it.dead_letter.as_deref() == Some(queue) {
            fields.refuse(
                "dead_letter",
                queue,
                "must be another queue than `queue`: a message that failed for good would come back for ever",
            );
        }
        outer.absorb(fields);
        it
    }
}
