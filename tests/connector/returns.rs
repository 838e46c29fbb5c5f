//! Exchanges of plugins: what comes back from them is not always nobody's.

use std::time::Duration;

use bytes::Bytes;
use lapin::{
    ExchangeKind,
    options::{ExchangeBindOptions, ExchangeDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Send};
use quorate_resources::Kind;
use serde_json::json;

use super::world::*;

/// Types of exchanges that route to no queue and keep what they get, as the delayed exchange
/// does until the time has come: made in the broker itself, since that plugin does not come
/// with it.
const TYPES: &str = r#"
Forms = [begin {ok, T, _} = erl_scan:string(S), {ok, F} = erl_parse:parse_form(T), F end || S <- [
  "-module(keeps).", "-behaviour(rabbit_exchange_type).",
  "-export([description/0,serialise_events/0,route/2,validate/1,validate_binding/2,policy_changed/2,create/2,delete/3,add_binding/3,remove_bindings/3,assert_args_equivalence/2,info/1,info/2]).",
  "description() -> [].", "serialise_events() -> false.", "route(_, _) -> [].",
  "validate(_) -> ok.", "validate_binding(_, _) -> ok.", "policy_changed(_, _) -> ok.",
  "create(_, _) -> ok.", "delete(_, _, _) -> ok.", "add_binding(_, _, _) -> ok.",
  "remove_bindings(_, _, _) -> ok.",
  "assert_args_equivalence(X, A) -> rabbit_exchange:assert_args_equivalence(X, A).",
  "info(_) -> [].", "info(_, _) -> []."]],
{ok, M, B} = compile:forms(Forms),
{module, M} = code:load_binary(M, "keeps", B),
[rabbit_registry:register(exchange, T, M) || T <- [<<"x-delayed-message">>, <<"x-by-itself">>]].
"#;

// guarantee: SEND-2
#[tokio::test(flavor = "multi_thread")]
async fn message_taken_by_exchange_itself_is_not_refused() {
    let (broker, name) = (broker().await, unique("returns"));
    broker.ctl(&["eval", TYPES]).await;
    let client = broker.client().await;
    let channel = client.connection().create_channel().await.unwrap();
    let of = |kind: &str| format!("{name}-{kind}");
    for kind in ["x-delayed-message", "x-by-itself", "topic"] {
        channel
            .exchange_declare(
                of(kind).as_str().into(),
                ExchangeKind::Custom(kind.into()),
                ExchangeDeclareOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
    }
    let group = SimulatedGroup::new();
    group.put(Kind::AmqpConnection, connection(broker.port()));
    let outgoing = |mandatory: bool| {
        json!({"name": name, "connection": "broker", "exchange": of("x-by-itself"),
               "mandatory": mandatory})
    };
    group.put(Kind::AmqpOutgoing, outgoing(true));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&name).await;
    let send = async |exchange: &str, delay: Option<&str>| {
        let header = |name: &str, value: &str| Header {
            name: name.into(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        };
        let message = Send {
            headers: delay.map(|it| header("x-delay", it)).into_iter().collect(),
            properties: vec![header("exchange", &of(exchange))],
            cid: "K1".into(),
            ..Send::default()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let sending = member
            .handle
            .send("amqp_outgoing", &name, message, deadline);
        sending.await.unwrap()
    };
    // Kept by the delayed exchange, which routes what has no delay.
    let kept = send("x-delayed-message", Some("5000")).await;
    assert!(matches!(kept, SendOutcome::Confirmed { .. }), "{kept:?}");
    let now = send("x-delayed-message", None).await;
    assert!(matches!(now, SendOutcome::Refused(_)), "{now:?}");
    // Of others only who declares the outgoing can know.
    let unknown = send("x-by-itself", None).await;
    assert!(
        matches!(&unknown, SendOutcome::Unknown(why) if why.contains("x-by-itself") && why.contains("mandatory: false")),
        "{unknown:?}"
    );
    let nowhere = send("topic", None).await;
    assert!(matches!(nowhere, SendOutcome::Refused(_)), "{nowhere:?}");
    // One that only routes may lead to one that keeps it: nobody tells where it came to.
    channel
        .exchange_bind(
            of("x-delayed-message").as_str().into(),
            of("topic").as_str().into(),
            "#".into(),
            ExchangeBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let routed = send("topic", Some("5000")).await;
    assert!(
        matches!(&routed, SendOutcome::Unknown(why) if why.contains("x-delay")),
        "{routed:?}"
    );
    group.put(Kind::AmqpOutgoing, outgoing(false));
    eventually("it is the exchange's", async || {
        let sent = send("x-by-itself", None).await;
        matches!(sent, SendOutcome::Confirmed { .. }).then_some(())
    })
    .await;
}

/// Asking an exchange for its type declares none.
#[tokio::test(flavor = "multi_thread")]
async fn querying_exchange_type_creates_nothing() {
    let (broker, name) = (broker().await, unique("no-exchange"));
    let client = broker.client().await;
    let channel = client.connection().create_channel().await.unwrap();
    let mut wrong = FieldTable::default();
    wrong.insert("alternate-exchange".into(), AMQPValue::LongInt(0));
    let declared = channel
        .exchange_declare(
            name.as_str().into(),
            ExchangeKind::Direct,
            ExchangeDeclareOptions::default(),
            wrong,
        )
        .await;
    assert!(declared.is_err());
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let channel = client.connection().create_channel().await.unwrap();
    let there = channel
        .exchange_declare(
            name.as_str().into(),
            ExchangeKind::Direct,
            passive,
            FieldTable::default(),
        )
        .await;
    assert!(there.is_err());
}
