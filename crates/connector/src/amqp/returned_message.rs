//! Meaning of a returned message, which is not always that nobody has it.
//!
//! A broker returns what no *queue* takes. Others may have it all the same: the client that waits
//! for a direct reply, which RabbitMQ hands over without a queue and returns each time; and what an
//! exchange of a plugin does by itself, as the delayed exchange does, which keeps the message until
//! its time. An exchange that only routes may lead to such an exchange, by a binding or as its
//! alternate exchange, and the broker does not report where a message came to: so the outcome of
//! one that has an `x-delay` is unknown.

use lapin::{
    BasicProperties, Channel, Connection, Error, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable, ShortString},
};

use super::refusal::is_refused;

/// Prefix of the address of a direct reply, behind the default exchange.
const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to.";
/// Header with the milliseconds for which a delayed exchange keeps a message.
pub(super) const DELAY: &str = "x-delay";
/// Longest delay, that of a timer of Erlang's.
const DELAY_MAX: i64 = (1 << 32) - 1;
/// Type of a delayed exchange.
const DELAYED: &str = "x-delayed-message";
/// Types that do nothing but route: the standard's and those of RabbitMQ's own plugins.
const ROUTING: [&str; 8] = [
    "direct",
    "fanout",
    "topic",
    "headers",
    "x-consistent-hash",
    "x-modulus-hash",
    "x-random",
    "x-jms-topic",
];

/// Returns true if this is the address of a client that waits for a direct reply.
pub(super) fn is_direct_reply(exchange: &ShortString, routing_key: &ShortString) -> bool {
    exchange.as_str().is_empty() && routing_key.as_str().starts_with(DIRECT_REPLY)
}

/// Returns true if a client waits for that direct reply. RabbitMQ answers as if it was a queue, and
/// closes the channel when there is none.
pub(super) async fn is_awaited(
    channel: &Channel,
    routing_key: &ShortString,
) -> Result<bool, Error> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let asked = channel.queue_declare(routing_key.clone(), passive, FieldTable::default());
    match asked.await {
        Ok(_) => Ok(true),
        Err(error) if is_refused(&error, AMQPSoftError::NOTFOUND) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Outcome of a message that an exchange of this type has returned.
#[derive(Debug, PartialEq)]
pub(super) enum ReturnOutcome {
    /// No queue takes it, and nobody else has it.
    Unroutable,
    /// The exchange keeps it until its time.
    Kept,
    /// The exchange may have handed it over by itself.
    Unknown(String),
}

impl ReturnOutcome {
    /// Returns the outcome for an exchange of this type, as far as that is known.
    pub(super) fn from_exchange_type(
        kind: Option<&str>,
        properties: &BasicProperties,
    ) -> ReturnOutcome {
        match kind {
            Some(DELAYED) => match delay(properties) {
                DelayHeader::Kept => ReturnOutcome::Kept,
                DelayHeader::None => ReturnOutcome::Unroutable,
                DelayHeader::Unsigned => ReturnOutcome::Unknown(
                    "takes an `x-delay` of an unsigned type for none, or keeps it".to_owned(),
                ),
            },
            Some(kind) if ROUTING.contains(&kind) => ReturnOutcome::routed(properties),
            Some(kind) => ReturnOutcome::Unknown(format!("is of the type {kind:?}")),
            None if delay(properties) != DelayHeader::None => ReturnOutcome::Unknown(
                "is of a type that the broker does not tell this user".to_owned(),
            ),
            None => ReturnOutcome::Unroutable,
        }
    }

    /// Returns the outcome for an exchange that only routes, perhaps to a delayed one.
    pub(super) fn routed(properties: &BasicProperties) -> ReturnOutcome {
        match delay(properties) {
            DelayHeader::None => ReturnOutcome::Unroutable,
            DelayHeader::Kept | DelayHeader::Unsigned => ReturnOutcome::Unknown(
                "may lead to a delayed exchange, which keeps what has an `x-delay`,".to_owned(),
            ),
        }
    }
}

/// Delay that a delayed exchange is asked for.
#[derive(Debug, PartialEq)]
enum DelayHeader {
    /// None, or longer than it can be: then the exchange routes the message at once.
    None,
    /// Kept by the exchange.
    Kept,
    /// Given by a number of a type that not every version of the plugin knows.
    Unsigned,
}

fn delay(properties: &BasicProperties) -> DelayHeader {
    let headers = properties.headers().as_ref();
    let (ms, signed) = match headers.and_then(|headers| headers.inner().get(DELAY)) {
        Some(AMQPValue::LongLongInt(n)) => (*n, true),
        Some(AMQPValue::LongInt(n)) => (i64::from(*n), true),
        Some(AMQPValue::ShortInt(n)) => (i64::from(*n), true),
        Some(AMQPValue::ShortShortInt(n)) => (i64::from(*n), true),
        Some(AMQPValue::LongUInt(n)) => (i64::from(*n), false),
        Some(AMQPValue::ShortUInt(n)) => (i64::from(*n), false),
        Some(AMQPValue::ShortShortUInt(n)) => (i64::from(*n), false),
        _ => return DelayHeader::None,
    };
    if !(1..=DELAY_MAX).contains(&ms) {
        DelayHeader::None
    } else if signed {
        DelayHeader::Kept
    } else {
        DelayHeader::Unsigned
    }
}

/// Returns the type of an exchange, if the broker reports it to this user; an error: it could not
/// be found out now. AMQP has no query for that, so the exchange is declared once more, with an
/// argument that it can't have: the broker reports the difference. Where there is no such exchange,
/// nothing is declared either, as no exchange can have that argument.
pub(super) async fn exchange_type(
    connection: &Connection,
    exchange: &ShortString,
) -> Result<Option<String>, Error> {
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("alternate-exchange".into(), AMQPValue::LongInt(0));
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declaring =
        channel.exchange_declare(exchange.clone(), ExchangeKind::Direct, durable, arguments);
    let Err(error) = declaring.await else {
        return Ok(None);
    };
    if let ErrorKind::ProtocolError(refusal) = error.kind()
        && matches!(refusal.kind(), AMQPErrorKind::Soft(_))
    {
        let differs = is_refused(&error, AMQPSoftError::PRECONDITIONFAILED);
        let kind = differs.then(|| difference(refusal.get_message().as_str()));
        return Ok(kind.flatten());
    }
    Err(error)
}

/// Returns the type in `... inequivalent arg 'type' for exchange 'e' in vhost '/': received
/// 'direct' but current is 'topic'`. An exchange that differs in something else is of the type that
/// was declared.
fn difference(refusal: &str) -> Option<String> {
    let (_, differs) = refusal.split_once("inequivalent arg ")?;
    if !differs.starts_with("'type' ") {
        return Some("direct".to_owned());
    }
    let (_, kind) = differs.rsplit_once("but current is ")?;
    Some(kind.trim_matches('\'').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delayed(by: AMQPValue) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(DELAY.into(), by);
        BasicProperties::default().with_headers(headers)
    }

    #[test]
    fn return_outcome_follows_exchange_type() {
        let (plain, later) = (BasicProperties::default(), delayed(AMQPValue::LongInt(9)));
        for kind in ROUTING {
            assert_eq!(
                ReturnOutcome::from_exchange_type(Some(kind), &plain),
                ReturnOutcome::Unroutable
            );
            // A delayed exchange may be bound to it.
            let routed = ReturnOutcome::from_exchange_type(Some(kind), &later);
            assert!(matches!(routed, ReturnOutcome::Unknown(_)), "{routed:?}");
        }
        assert_eq!(ReturnOutcome::routed(&plain), ReturnOutcome::Unroutable);
        assert!(matches!(
            ReturnOutcome::routed(&later),
            ReturnOutcome::Unknown(_)
        ));
        assert_eq!(
            ReturnOutcome::from_exchange_type(Some(DELAYED), &later),
            ReturnOutcome::Kept
        );
        assert_eq!(
            ReturnOutcome::from_exchange_type(Some(DELAYED), &plain),
            ReturnOutcome::Unroutable
        );
        let text = delayed(AMQPValue::LongString("9".into()));
        assert_eq!(
            ReturnOutcome::from_exchange_type(Some(DELAYED), &text),
            ReturnOutcome::Unroutable
        );
        let too_long = delayed(AMQPValue::LongLongInt(DELAY_MAX + 1));
        assert_eq!(
            ReturnOutcome::from_exchange_type(Some(DELAYED), &too_long),
            ReturnOutcome::Unroutable
        );
        let unsigned =
            ReturnOutcome::from_exchange_type(Some(DELAYED), &delayed(AMQPValue::LongUInt(9)));
        assert!(
            matches!(unsigned, ReturnOutcome::Unknown(_)),
            "{unsigned:?}"
        );
        let another = ReturnOutcome::from_exchange_type(Some("x-lvc"), &plain);
        assert_eq!(
            another,
            ReturnOutcome::Unknown("is of the type \"x-lvc\"".into())
        );
        assert!(matches!(
            ReturnOutcome::from_exchange_type(None, &later),
            ReturnOutcome::Unknown(_)
        ));
        assert_eq!(
            ReturnOutcome::from_exchange_type(None, &plain),
            ReturnOutcome::Unroutable
        );
    }

    #[test]
    fn exchange_type_is_read_from_the_difference() {
        let of = |what: &str| {
            format!(
                "PRECONDITION_FAILED - inequivalent arg {what} for exchange 'e' in vhost '/': received"
            )
        };
        let other = of("'type'") + " 'direct' but current is ''x-delayed-message''";
        assert_eq!(difference(&other).as_deref(), Some(DELAYED));
        let same = of("'alternate-exchange'") + " the value '0' but current is none";
        assert_eq!(difference(&same).as_deref(), Some("direct"));
        let none = "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange'";
        assert_eq!(difference(none), None);
    }
}
