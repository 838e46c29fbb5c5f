//! `amqp_channel`

use crate::{
    DeliveryPolicy, Kind, Service, StandbyMode,
    declaration::declare,
    field_reader::FieldReader,
    field_rules::{flag, nested, number, one_of, optional, optional_number, reference, required},
    text_rules,
};

/// The largest `prefetch`.
const PREFETCH_MAX: u64 = 1000;
/// RabbitMQ's consumer_timeout by default: messages held for longer are warned of.
const CONSUMER_TIMEOUT_MS: u64 = 30 * 60_000;
/// Waits that are warned of where nothing is known of the calls between them.
const WAITS_MS_MAX: u64 = 25 * 60_000;

declare! {
    /// `amqp_channel`
    pub struct AmqpChannel {
        /// The name of the channel.
        name: String = required(text_rules::name);
        /// The queue that it consumes; it must exist.
        queue: String = required(text_rules::amqp_text);
        /// Most messages in flight at a time.
        prefetch: u16 = number(10, 1..=PREFETCH_MAX);
        /// One message at a time in the order of the queue, across a takeover too.
        ordered: bool = flag(false);
        /// The `amqp_connection` that it uses.
        connection: String = reference(Kind::AmqpConnection);
        /// The service that handles its messages.
        service: String = reference(Kind::Service);
        /// Most messages that are handled at a time; as many as are in flight otherwise.
        pool_size: Option<u16> = optional_number(PREFETCH_MAX),
            then pool_fits(pool_size, prefetch, ordered);
        /// Stands before the consumer tag.
        consumer_tag_prefix: Option<String> = optional(text_rules::consumer_tag_prefix);
        /// What the members that don't run it have of it.
        standby: StandbyMode = one_of();
        /// What happens to a message that its service did not handle.
        on_failure: DeliveryPolicy = nested(), then dead_letter_leads_on(on_failure, queue);
        /// Inactive channels consume nothing.
        active: bool = flag(true);
    }
}

fn pool_fits(
    fields: &mut FieldReader<'_>,
    pool_size: &Option<u16>,
    prefetch: &u16,
    ordered: &bool,
) {
    let Some(size) = *pool_size else { return };
    if size > *prefetch {
        let problem = format!("must be at most prefetch, which is {prefetch}: more are not there");
        fields.refuse("pool_size", &size.to_string(), problem);
    }
    if *ordered && size != 1 {
        let problem = "must be 1 or left out: `ordered` is one message at a time";
        fields.refuse("pool_size", &size.to_string(), problem);
    }
}

fn dead_letter_leads_on(fields: &mut FieldReader<'_>, on_failure: &DeliveryPolicy, queue: &str) {
    if on_failure.dead_letter.as_deref() == Some(queue) {
        fields.refuse(
            "on_failure.dead_letter",
            queue,
            "must be another queue than `queue`: a message that failed for good would come back for ever",
        );
    }
}

impl AmqpChannel {
    /// Returns a warning where messages may be held for too long: RabbitMQ takes back what it has
    /// handed out when one message of it is not acknowledged in time. That time counts the waits
    /// of the message and the calls of its service, and those of the messages before it: in
    /// order all of them, otherwise the calls that leave it no place.
    pub(crate) fn warning(&self, service: Option<&Service>) -> Option<String> {
        let calls = service.map_or(0, |it| {
            let tries = u64::from(self.on_failure.retries) + 1;
            it.longest_ms().saturating_mul(tries)
        });
        let (waits, calls, each) = if self.ordered {
            let each = u64::from(self.prefetch);
            let waits = self.on_failure.waits_ms().saturating_mul(each);
            let calls = calls.saturating_mul(each);
            (waits, calls, ", for each of `prefetch` messages in turn")
        } else {
            let turns = u64::from(self.prefetch.div_ceil(self.concurrency_max()));
            let calls = calls.saturating_mul(turns);
            (self.on_failure.waits_ms(), calls, "")
        };
        let most = if service.is_some() {
            CONSUMER_TIMEOUT_MS
        } else {
            WAITS_MS_MAX
        };
        if waits.saturating_add(calls) <= most {
            return None;
        }
        let calls = match service {
            Some(it) => format!(
                " and the calls of the service {:?} {} min, if each takes all its time",
                it.name,
                calls / 60_000
            ),
            None => ", with the calls of the service beside them".to_owned(),
        };
        Some(format!(
            "the waits of `on_failure` are {} min in all{calls}{each}, and RabbitMQ leaves a message unacknowledged for 30 min by default (consumer_timeout): then it takes all back that the channel holds, and hands it out again. Fewer `retries`, a shorter `backoff_max_ms` or `timeout_ms` of the service, a smaller `prefetch` (with `ordered` or a small `pool_size`) avoid that, or a longer consumer_timeout at the broker",
            waits / 60_000
        ))
    }

    /// Returns the number of messages that are handled at a time, at least one.
    pub fn concurrency_max(&self) -> u16 {
        if self.ordered {
            return 1;
        }
        // Members of other rules may have let a 0 into the log.
        self.pool_size.unwrap_or(self.prefetch).max(1)
    }
}
