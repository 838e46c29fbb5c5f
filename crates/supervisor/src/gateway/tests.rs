use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use parking_lot::Mutex;
use quorate_ipc::lease::{BootInstant, LeaseWriter};
use quorate_service::MayRun;

use super::{super::connectors_view::Reign, *};

const RESPITE: Duration = Duration::from_secs(60);

fn spec() -> ConnectorSpec {
    ConnectorSpec::for_test()
}

/// Of a member that does not act.
fn send_router(view: watch::Receiver<Arc<ConnectorsView>>) -> Arc<SendRouter> {
    Arc::new(SendRouter::new(watch::Sender::default().subscribe(), view))
}

fn header(name: &str, value: &str) -> Header {
    Header {
        name: name.into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

fn delivery() -> Delivery {
    Delivery {
        delivery: 1,
        message_id: "m-1".into(),
        content_type: "application/json".into(),
        headers: vec![
            header("Tenant", "a"),
            header("not a name", "x"),
            header("bad", "line\nbreak"),
            header("Müller", "Grün"),
        ],
        body: Bytes::from_static(b"{}"),
        attempt: 2,
        redelivered: false,
        cid: "K1".into(),
        properties: vec![
            header("correlation-id", "c-1"),
            header("content-encoding", "gzip"),
            header("type", "a\tb\n"),
        ],
        ..Delivery::default()
    }
}

#[test]
fn a_service_is_asked_as_the_contract_says() {
    let request = request(&spec(), 42, delivery());
    assert_eq!((request.method, request.path.as_str()), (Method::POST, "/"));
    let get = |name: &str| {
        request
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    assert_eq!(get("content-type"), Some("application/json"));
    assert_eq!(get("content-encoding"), Some("gzip"));
    assert_eq!(get("quorate-channel"), Some("orders"));
    assert_eq!(get("quorate-epoch"), Some("42"));
    assert_eq!(get("quorate-message-id"), Some("m-1"));
    assert_eq!(get("quorate-attempt"), Some("2"));
    assert_eq!(get("x-zato-cid"), Some("K1"));
    assert_eq!(get("quorate-header-tenant"), Some("a"));
    assert_eq!(get("quorate-property-correlation-id"), Some("c-1"));
    assert_eq!(get("quorate-header-bad"), Some("line%0Abreak"));
    assert_eq!(get("quorate-header-not%20a%20name"), Some("x"));
    let green = request.headers["quorate-header-m%c3%bcller"].as_bytes();
    assert_eq!(green, "Grün".as_bytes());
    assert_eq!(get("quorate-headers-typed"), Some("bad=percent"));
    assert_eq!(get("quorate-property-type"), Some("a%09b%0A"));
    assert_eq!(get("quorate-properties-encoded"), Some("type"));
    let Origin::Message(message) = request.origin else {
        panic!("not a message")
    };
    assert_eq!(
        (message.epoch, message.attempt, message.id.as_str()),
        (42, 2, "m-1")
    );
}

#[test]
fn excess_headers_are_left_out_and_counted() {
    let asked = |headers: Vec<Header>| {
        let many = Delivery {
            headers,
            ..delivery()
        };
        request(&spec(), 42, many).headers
    };
    let own = |headers: &HeaderMap| {
        let names = headers.keys().map(|name| name.as_str());
        names
            .filter(|name| name.starts_with("quorate-header-"))
            .count()
    };
    let many = (0..10_000).map(|n| header(&format!("h{n}"), "v")).collect();
    let many = asked(many);
    assert_eq!(own(&many), 64);
    assert_eq!(many["quorate-headers-left-out"], "9936");
    assert!(many.len() < 100);
    // One that is too large doesn't push others out.
    let large = asked(vec![
        header("a", "v"),
        header("large", &"v".repeat(100_000)),
        header("z", "v"),
    ]);
    assert_eq!(own(&large), 2);
    assert_eq!(large["quorate-headers-left-out"], "1");
    let few = asked(vec![header("a", "v")]);
    assert_eq!((own(&few), few.get("quorate-headers-left-out")), (1, None));
}

#[test]
fn a_message_without_a_content_type_has_none() {
    let request = request(
        &spec(),
        1,
        Delivery {
            content_type: String::new(),
            ..delivery()
        },
    );
    assert!(!request.headers.contains_key("content-type"));
}

fn reply(status: u16, fenced: Option<&'static str>, body: &'static str) -> Reply {
    let mut headers = HeaderMap::new();
    if let Some(fenced) = fenced {
        headers.insert("quorate-fenced", HeaderValue::from_static(fenced));
    }
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn outcome(answer: Result<Reply, ServiceError>) -> Outcome {
    judge("s", answer).map_or_else(|outcome| outcome, |reply| Outcome::Handled(handled(reply)))
}

#[test]
fn answers_map_to_outcomes_by_contract() {
    let failed = |text: &str| Outcome::Failed(text.to_owned());
    let done = connector::Reply {
        content_type: String::new(),
        body: Bytes::from_static(b"done"),
    };
    assert_eq!(
        outcome(Ok(reply(200, None, "done"))),
        Outcome::Handled(done.clone())
    );
    assert_eq!(
        outcome(Ok(reply(204, None, "done"))),
        Outcome::Handled(done)
    );
    assert_eq!(
        outcome(Ok(reply(302, None, ""))),
        failed("s answered 302 Found")
    );
    assert_eq!(
        outcome(Ok(reply(500, None, " oops\n"))),
        failed("s answered 500 Internal Server Error: oops")
    );
    assert_eq!(
        outcome(Ok(reply(409, None, ""))),
        failed("s answered 409 Conflict")
    );
    assert_eq!(
        outcome(Ok(reply(500, Some("true"), ""))),
        failed("s answered 500 Internal Server Error")
    );
    assert!(matches!(
        outcome(Ok(reply(409, Some("True"), ""))),
        Outcome::Fenced(_)
    ));
    assert!(matches!(
        outcome(Err(ServiceError::Fenced(9))),
        Outcome::Fenced(_)
    ));
    assert!(matches!(
        outcome(Err(ServiceError::NotRun("x".into()))),
        Outcome::NotRun(_)
    ));
    assert!(matches!(
        outcome(Err(ServiceError::TimedOut(5))),
        Outcome::Failed(_)
    ));
    assert!(matches!(
        outcome(Err(ServiceError::Failed("x".into()))),
        Outcome::Failed(_)
    ));
}

/// Counts its calls and always succeeds.
#[derive(Default)]
struct CountingDispatch(Mutex<u32>);

#[async_trait]
impl ServiceDispatch for CountingDispatch {
    async fn dispatch(
        &self,
        _: &str,
        _: Request,
        permit: MayRun<'_>,
    ) -> Result<Reply, ServiceError> {
        *self.0.lock() += 1;
        assert!(permit());
        Ok(reply(200, None, ""))
    }
}

// guarantee: REIGN-2, LEASE-1, FENCE-2
#[tokio::test]
async fn no_call_without_lease_or_under_old_epoch() {
    let page = LeaseWriter::new().unwrap();
    let (state, view) = watch::channel(Arc::new(ConnectorsView::default()));
    let calls = Arc::new(CountingDispatch::default());
    let gateway = DeliveryGateway::new(
        calls.clone(),
        page.reader().clone(),
        view.clone(),
        send_router(view),
    );
    let spec = spec();
    let ask = || gateway.deliver(&spec, 7, delivery());

    assert!(
        matches!(ask().await, Outcome::Fenced(_)),
        "no lease was ever granted"
    );
    page.grant(7, BootInstant::now() + Duration::from_secs(60), RESPITE);
    assert!(matches!(ask().await, Outcome::Handled(_)));
    state.send_replace(Arc::new(ConnectorsView {
        reign: Reign {
            holder: Some(2),
            epoch: 8,
            term: 3,
            ..Reign::default()
        },
        ..ConnectorsView::default()
    }));
    assert!(
        matches!(ask().await, Outcome::Fenced(_)),
        "a newer epoch has been applied"
    );
    state.send_replace(Arc::default());
    page.grant(7, BootInstant::now(), RESPITE);
    assert!(
        matches!(ask().await, Outcome::NotRun(_)),
        "it may be renewed: the message waits"
    );
    page.grant(8, BootInstant::now() + Duration::from_secs(60), RESPITE);
    assert!(
        matches!(ask().await, Outcome::Fenced(_)),
        "the page is of a newer epoch"
    );
    assert_eq!(*calls.0.lock(), 1);
}

/// Takes so long to find a member that the lease is over meanwhile.
struct Searching(LeaseWriter);

#[async_trait]
impl ServiceDispatch for Searching {
    async fn dispatch(
        &self,
        _: &str,
        _: Request,
        permit: MayRun<'_>,
    ) -> Result<Reply, ServiceError> {
        assert!(permit());
        self.0.revoke();
        assert!(
            !permit(),
            "the next member would be asked without the lease"
        );
        Err(ServiceError::NotRun("nobody took it".into()))
    }
}

// guarantee: LEASE-1, FENCE-3
#[tokio::test]
async fn lease_is_rechecked_before_forwarding_message() {
    let page = LeaseWriter::new().unwrap();
    let view = watch::channel(Arc::new(ConnectorsView::default())).1;
    page.grant(7, BootInstant::now() + Duration::from_secs(60), RESPITE);
    let lease = page.reader().clone();
    let gateway = DeliveryGateway::new(
        Arc::new(Searching(page)),
        lease,
        view.clone(),
        send_router(view),
    );
    let outcome = gateway.deliver(&spec(), 7, delivery()).await;
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
}
