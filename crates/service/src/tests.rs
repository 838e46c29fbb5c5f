//! The registry and the call of one service.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use quorate_clock::Instant;
use quorate_resources::Kind;
use serde_json::json;
use tokio::sync::Notify;

use super::{
    testing::{StateFixture, message, request},
    *,
};

/// Does what its name says.
struct Scripted {
    calls: AtomicU32,
    seen: parking_lot::Mutex<Vec<Request>>,
    gate: Notify,
}

#[async_trait]
impl Service for Scripted {
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen.lock().push(request.clone());
        match &request.body[..] {
            b"panic" => panic!("as asked"),
            b"hang" => std::future::pending().await,
            b"wait" => {
                self.gate.notified().await;
                Ok(Reply::empty(StatusCode::OK))
            }
            b"fail twice" if call <= 2 => Err(ServiceError::Failed("not yet".into())),
            b"500 twice" if call <= 2 => Ok(Reply::text(500, "not yet")),
            b"500, then gone" if call == 1 => Ok(Reply::text(500, "not yet")),
            b"500, then gone" => Err(ServiceError::NotRun("gone".into())),
            b"400" => Ok(Reply::text(400, "never")),
            b"fenced" => Ok(Reply::fenced()),
            _ => Ok(Reply::empty(StatusCode::OK)),
        }
    }
}

struct Fixture {
    group: StateFixture,
    code: Arc<Scripted>,
    services: Arc<Services>,
}

fn fixture(calls_max: usize) -> Fixture {
    let mut group = StateFixture::new();
    group.announce(1, &["code", "echo", "ping"]);
    let code = Arc::new(Scripted {
        calls: AtomicU32::new(0),
        seen: Default::default(),
        gate: Notify::new(),
    });
    let carried = BTreeMap::from([("code".to_owned(), code.clone() as Arc<dyn Service>)]);
    let services = Services::with_calls_max(carried, group.watch(), calls_max);
    Fixture {
        group,
        code,
        services,
    }
}

fn saying(body: &'static str) -> Request {
    let mut request = request(Origin::Admin);
    request.body = Bytes::from_static(body.as_bytes());
    request
}

#[tokio::test]
async fn call_goes_by_the_current_catalog() {
    let mut f = fixture(10);
    assert_eq!(f.services.carried_names(), ["code", "echo", "ping"]);
    assert!(f.services.call("code", saying("")).await.is_ok());
    let unknown = f.services.call("other", saying("")).await.unwrap_err();
    assert!(
        matches!(&unknown, ServiceError::NotRun(why) if why.contains("\"other\"")),
        "{unknown:?}"
    );

    f.group.service("other", json!({"builtin": "code"}));
    assert!(f.services.call("other", saying("")).await.is_ok());
    assert_eq!(
        f.services.carrier("other"),
        ServiceHost::Code("code".into())
    );
    f.group.service("other", json!({"builtin": "echo"}));
    assert_eq!(
        f.services.call("other", saying("x")).await.unwrap().body,
        "x"
    );
    assert_eq!(f.services.carrier("other"), ServiceHost::EveryMember);
    assert!(!f.services.is_upstream("other"));
    f.group
        .service("other", json!({"upstream": "http://127.0.0.1:1/"}));
    assert!(f.services.is_upstream("other"));
    f.group.delete(Kind::Service, "other");
    assert!(f.services.call("other", saying("")).await.is_err());
}

#[tokio::test]
async fn a_panic_is_a_failure_and_no_more() {
    let f = fixture(1);
    for _ in 0..3 {
        let error = f.services.call("code", saying("panic")).await.unwrap_err();
        assert_eq!(
            error,
            ServiceError::Failed("the service panicked: as asked".into())
        );
    }
    assert!(f.services.call("code", saying("")).await.is_ok());
    assert_eq!(f.services.in_flight(), 0);
}

#[tokio::test]
async fn the_shorter_of_timeout_and_deadline_holds() {
    let mut f = fixture(10);
    f.group
        .service("slow", json!({"builtin": "code", "timeout_ms": 60}));
    let begun = Instant::now();
    let error = f.services.call("slow", saying("hang")).await.unwrap_err();
    assert!(
        matches!(error, ServiceError::TimedOut(55..=60)),
        "{error:?}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(60));

    let mut request = saying("hang");
    request.deadline = Instant::now() + Duration::from_millis(30);
    let error = f.services.call("code", request.clone()).await.unwrap_err();
    assert!(matches!(error, ServiceError::TimedOut(..=30)), "{error:?}");

    let before = f.code.calls.load(Ordering::SeqCst);
    let error = f.services.call("code", request).await.unwrap_err();
    assert!(matches!(error, ServiceError::NotRun(_)), "{error:?}");
    assert_eq!(
        f.code.calls.load(Ordering::SeqCst),
        before,
        "not begun after the deadline"
    );
}

#[tokio::test]
async fn retries_happen_only_when_set_after_failures() {
    let mut f = fixture(10);
    for (retries, body, tries, succeeds) in [
        (0, "fail twice", 1, false),
        (1, "fail twice", 2, false),
        (2, "fail twice", 3, true),
        (5, "fail twice", 3, true),
        (2, "500 twice", 3, true),
        (5, "400", 1, false),
        (2, "panic", 3, false),
    ] {
        f.group
            .service("tried", json!({"builtin": "code", "retries": retries}));
        f.code.calls.store(0, Ordering::SeqCst);
        let outcome = f.services.call("tried", saying(body)).await;
        let succeeded = outcome.is_ok_and(|reply| reply.status.is_success());
        assert_eq!(succeeded, succeeds, "{retries} {body}");
        assert_eq!(
            f.code.calls.load(Ordering::SeqCst),
            tries,
            "{retries} {body}"
        );
    }
}

// guarantee: REIGN-2, FENCE-4
#[tokio::test]
async fn an_old_epoch_runs_nothing() {
    let mut f = fixture(10);
    let epoch = f.group.take_over();
    assert!(f.services.call("code", message(epoch)).await.is_ok());
    let newer = f.group.take_over();
    let error = f.services.call("code", message(epoch)).await.unwrap_err();
    assert_eq!(error, ServiceError::Fenced(newer));
    assert_eq!(f.code.calls.load(Ordering::SeqCst), 1);
    // This member may be the one that is behind.
    assert!(f.services.call("code", message(newer + 5)).await.is_ok());
}

#[tokio::test]
async fn earlier_try_keeps_outcome_uncertain() {
    let mut f = fixture(10);
    f.group
        .service("tried", json!({"builtin": "code", "retries": 1}));
    let outcome = f.services.call("tried", saying("500, then gone")).await;
    assert!(
        matches!(outcome, Err(ServiceError::Failed(_))),
        "{outcome:?}"
    );
    let outcome = f.services.call("tried", saying("500, then gone")).await;
    assert!(
        matches!(outcome, Err(ServiceError::NotRun(_))),
        "no try of this call has run: {outcome:?}"
    );
}

/// Whether there is a next try is for the channel's failure policy, which asks the lease.
// guarantee: MESSAGE-8
#[tokio::test]
async fn each_hand_off_calls_service_once() {
    let mut f = fixture(10);
    let epoch = f.group.take_over();
    f.group
        .service("tried", json!({"builtin": "code", "retries": 100}));
    let mut request = message(epoch);
    request.body = Bytes::from_static(b"panic");
    assert!(f.services.call("tried", request).await.is_err());
    assert_eq!(f.code.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_services_own_refusal_counts_for_messages_only() {
    let f = fixture(10);
    let mut refused = message(3);
    refused.body = Bytes::from_static(b"fenced");
    assert!(matches!(
        f.services.call("code", refused).await,
        Err(ServiceError::Fenced(_))
    ));
    let reply = f.services.call("code", saying("fenced")).await.unwrap();
    assert_eq!(reply.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn calls_are_bounded_and_dropped_calls_free_places() {
    let f = fixture(2);
    let hanging: Vec<_> = (0..2)
        .map(|_| {
            let services = f.services.clone();
            tokio::spawn(async move { services.call("code", saying("wait")).await })
        })
        .collect();
    let services = f.services.clone();
    testing::eventually("both run", async || services.in_flight() == 2).await;
    let error = f.services.call("code", saying("")).await.unwrap_err();
    assert!(matches!(error, ServiceError::NotRun(_)), "{error:?}");
    hanging[0].abort();
    testing::eventually("one is gone", async || services.in_flight() == 1).await;
    assert!(f.services.call("code", saying("")).await.is_ok());
}

// guarantee: MESSAGE-7
#[tokio::test]
async fn a_message_comes_with_its_coordinates() {
    let f = fixture(10);
    let mut sent = message(9);
    for (name, value) in [
        ("content-type", "text/x"),
        ("x-tenant", "t1"),
        ("x-tenant", "t2"),
        ("quorate-header-priority", "5"),
        // A message's sender must not pass it off as another.
        ("quorate-epoch", "999"),
    ] {
        sent.headers.append(name, value.parse().unwrap());
    }
    assert!(f.services.call("code", sent).await.is_ok());
    let seen = f.code.seen.lock().pop().unwrap();
    let mut headers: Vec<String> = seen
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    assert_eq!(
        headers,
        [
            "content-type: text/x",
            "quorate-attempt: 1",
            "quorate-channel: orders",
            "quorate-epoch: 9",
            "quorate-header-priority: 5",
            "quorate-header-x-tenant: t1",
            "quorate-header-x-tenant: t2",
            "quorate-message-id: m-1",
            "x-zato-cid: K000000000000000000000000000000000000007",
        ]
    );
}

#[tokio::test]
async fn uncarried_service_goes_elsewhere_if_possible() {
    struct Elsewhere;
    #[async_trait]
    impl ServiceDispatch for Elsewhere {
        async fn dispatch(
            &self,
            service: &str,
            _: Request,
            _: MayRun<'_>,
        ) -> Result<Reply, ServiceError> {
            Ok(Reply::text(200, service.to_owned()))
        }
    }
    let f = fixture(10);
    assert!(f.services.call_anywhere("far", saying("")).await.is_err());
    let elsewhere: Arc<dyn ServiceDispatch> = Arc::new(Elsewhere);
    f.services
        .send_elsewhere_through(Arc::downgrade(&elsewhere));
    assert_eq!(
        f.services
            .call_anywhere("far", saying(""))
            .await
            .unwrap()
            .body,
        "far"
    );
    assert_eq!(
        f.services
            .call_anywhere("echo", saying("near"))
            .await
            .unwrap()
            .body,
        "near"
    );
    drop(elsewhere);
    assert!(f.services.call_anywhere("far", saying("")).await.is_err());
}
