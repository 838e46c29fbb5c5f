//! `amqp_channel`

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{
    DeliveryPolicy, Service, StandbyMode,
    field_reader::{FieldReader, ParseOutcome},
    text_rules, yes,
};

/// The largest `prefetch`.
const PREFETCH_MAX: u64 = 1000;
/// RabbitMQ's consumer_timeout, unless it is set: what is held for longer is warned of.
const CONSUMER_TIMEOUT_MS: u64 = 30 * 60_000;
/// Where nothing is known of the calls between them, waits that are longer than this are.
const WAITS_MS_MAX: u64 = 25 * 60_000;

/// `amqp_channel`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpChannel {
    /// Its name.
    pub name: String,
    /// The `amqp_connection` that it uses.
    pub connection: String,
    /// The queue that it consumes; it must exist.
    pub queue: String,
    /// The service that handles its messages.
    pub service: String,
    /// Most messages in flight at a time.
    #[serde(default = "prefetch")]
    pub prefetch: u16,
    /// Most messages that are handled at a time; as many as are in flight otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_size: Option<u16>,
    /// One message at a time in the order of the queue, across a takeover too.
    #[serde(default)]
    pub ordered: bool,
    /// Stands before the consumer tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_tag_prefix: Option<String>,
    /// What the members that don't run it have of it.
    #[serde(default)]
    pub standby: StandbyMode,
    /// What happens to a message that its service did not handle.
    #[serde(default)]
    pub on_failure: DeliveryPolicy,
    /// Inactive channels consume nothing.
    #[serde(default = "yes")]
    pub active: bool,
}

fn prefetch() -> u16 {
    10
}

impl AmqpChannel {
    pub(crate) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let name = fields.required("name", text_rules::name);
        let queue = fields.required("queue", text_rules::amqp_text);
        let prefetch = fields.number("prefetch", prefetch(), 1..=PREFETCH_MAX);
        let ordered = fields.flag("ordered", false);
        let it = AmqpChannel {
            name,
            connection: fields.required("connection", text_rules::name),
            service: fields.required("service", text_rules::name),
            prefetch,
            pool_size: pool_size(&mut fields, prefetch, ordered),
            ordered,
            consumer_tag_prefix: fields
                .text("consumer_tag_prefix", text_rules::consumer_tag_prefix),
            standby: StandbyMode::read(&mut fields),
            on_failure: DeliveryPolicy::read(&mut fields, &queue),
            active: fields.flag("active", yes()),
            queue,
        };
        fields.finish(it)
    }

    /// What its declarer should know of: RabbitMQ takes back what it has handed out when one
    /// message of it is not acknowledged for long. That counts the waits of the message and
    /// the calls of its service, and those of the messages before it: in order all of them,
    /// otherwise the calls that leave it no place.
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
            let turns = u64::from(self.prefetch.div_ceil(self.at_a_time()));
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

    /// How many messages are handled at a time.
    pub fn at_a_time(&self) -> u16 {
        match self.ordered {
            true => 1,
            false => self.pool_size.unwrap_or(self.prefetch),
        }
    }
}

fn pool_size(fields: &mut FieldReader<'_>, prefetch: u16, ordered: bool) -> Option<u16> {
    let given = fields.has("pool_size");
    let size = fields.number("pool_size", 1, 1..=PREFETCH_MAX);
    if given && size > prefetch {
        let problem = format!("must be at most prefetch, which is {prefetch}: more are not there");
        fields.refuse("pool_size", size.to_string(), problem);
    }
    if ordered && size != 1 {
        let problem = "must be 1 or left out: `ordered` is one message at a time";
        fields.refuse("pool_size", size.to_string(), problem);
    }
    given.then_some(size)
}
