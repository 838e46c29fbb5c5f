//! Calls on configuration and keys, over HTTP, to a cluster of one.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::FromRef,
};
use http::{HeaderMap, Request, StatusCode};
use quorate_clock::Instant;
use quorate_raft::{Node, NodeOptions, NodeStartMode, SnapshotPolicy};
use quorate_state::{Answer, Command, KeyringCommand};
use quorate_types::{Member, Timing};
use quorate_vault::Vault;
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    admin::{caller::Caller, config, kv},
    cluster::ClusterHandle,
    replica::StateReplica,
};

#[derive(Clone)]
struct TestClusterState(ClusterHandle);

impl FromRef<TestClusterState> for ClusterHandle {
    fn from_ref(bed: &TestClusterState) -> ClusterHandle {
        bed.0.clone()
    }
}

struct TestApi {
    router: Router,
    cluster: ClusterHandle,
    _dir: tempfile::TempDir,
}

struct ApiResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl ApiResponse {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn revision(&self) -> &str {
        self.headers["quorate-revision"].to_str().unwrap()
    }
}

impl TestApi {
    async fn open() -> TestApi {
        let dir = tempfile::tempdir().unwrap();
        let timing = Timing::from_failover_ms(1000).unwrap();
        let options = NodeOptions {
            dir: dir.path().join("data"),
            member: Member {
                name: "one".into(),
                ..Member::default()
            },
            timing: timing.into(),
            snapshot: SnapshotPolicy {
                entries: 1000,
                bytes: 1 << 20,
                keep: 10,
            },
            lock_wait: Duration::ZERO,
            tls: None,
        };
        let (replica, state) = StateReplica::new();
        let node = Node::start(options, NodeStartMode::Bootstrap, replica)
            .await
            .unwrap();
        let own = quorate_keyring::SealKey::generate().unwrap();
        let vault = Arc::new(Vault::new(node.cluster(), node.id(), own));
        let cluster = ClusterHandle::new(node, state, vault.clone());
        let announce = Command::AnnounceProgram {
            member: cluster.node().id(),
            services: vec!["echo".into()],
            version: "1".into(),
            failover_ms: None,
        };
        // by then it has elected itself
        let deadline = Instant::now() + Duration::from_secs(10);
        let (_, answer) = cluster.propose(announce, deadline).await.unwrap();
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
        let announced = KeyringCommand::Announce {
            member: cluster.node().id(),
            public_key: vault.public_key(),
        };
        let announced = Command::Keyring(announced.into());
        cluster.propose(announced, deadline).await.unwrap();
        let members = [cluster.node().id()];
        let first = vault.add_version(cluster.state().keyring(), &members);
        let first = Command::Keyring(first.unwrap().into());
        cluster.propose(first, deadline).await.unwrap();
        let anyone = Caller::anyone();
        let router = config::routes()
            .merge(kv::routes())
            .into_router()
            .layer(Extension(anyone))
            .with_state(TestClusterState(cluster.clone()));
        TestApi {
            router,
            cluster,
            _dir: dir,
        }
    }

    async fn ask(
        &self,
        call: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> ApiResponse {
        let (method, uri) = call.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let (parts, body) = self
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        ApiResponse {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, 10 << 20).await.unwrap().into(),
        }
    }

    async fn refused(&self, call: &str, body: impl Into<Body>, status: u16, code: &str) -> Value {
        let told = self.ask(call, &[], body).await;
        let problem = told.json();
        assert_eq!(told.status, status, "{call}: {problem}");
        assert_eq!(problem["code"], code, "{call}: {problem}");
        assert_eq!(told.headers["content-type"], "application/problem+json");
        problem
    }

    async fn close(self) {
        self.cluster.node().shutdown().await;
    }
}

#[tokio::test]
async fn resources() {
    let face = TestApi::open().await;
    let service = r#"{"upstream": "http://127.0.0.1:9"}"#;
    let dry = face
        .ask("PUT /v1/config/service/orders?dry_run=true", &[], service)
        .await;
    assert_eq!(
        (dry.status.as_u16(), &dry.json()["created"]),
        (200, &true.into())
    );
    face.refused("GET /v1/config/service/orders", "", 404, "not_found")
        .await;
    let put = face
        .ask("PUT /v1/config/service/orders", &[], service)
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(put.json()["created"], true);
    let tag = put.headers["etag"].to_str().unwrap();
    assert_eq!(tag, format!("\"{}\"", put.revision()));
    let again = face
        .ask("PUT /v1/config/service/orders", &[], service)
        .await;
    assert_eq!(again.json()["changed"], false);
    assert_eq!(again.revision(), put.revision());
    let read = face.ask("GET /v1/config/service/orders", &[], "").await;
    assert_eq!(read.headers["etag"], tag);
    assert_eq!(read.json()["timeout_ms"], 10_000);
    // what was read can be put back
    let back = face
        .ask("PUT /v1/config/service/orders", &[], read.body)
        .await;
    assert_eq!(
        (back.status.as_u16(), back.revision()),
        (200, put.revision())
    );
    let known = [("if-none-match", tag)];
    let read = face.ask("GET /v1/config/service/orders", &known, "").await;
    assert_eq!(read.status, 304);

    let channel = r#"{"path": "/orders/{id}", "service": "orders", "security": "api_key/partner"}"#;
    let call = "PUT /v1/config/http_channel/orders";
    let problem = face.refused(call, channel, 422, "invalid").await;
    assert_eq!(problem["errors"][0]["field"], "security");
    let key = r#"{"key": "hunter2"}"#;
    let put_key = face.ask("PUT /v1/config/api_key/partner", &[], key).await;
    assert_eq!(put_key.status, 200);
    assert_eq!(face.ask(call, &[], channel).await.status, 200);
    let problem = face
        .refused("DELETE /v1/config/api_key/partner", "", 409, "conflict")
        .await;
    assert_eq!(
        problem["referenced_by"],
        serde_json::json!(["http_channel/orders"])
    );
    for call in [
        "GET /v1/config",
        "GET /v1/config/api_key",
        "GET /v1/config/api_key/partner",
    ] {
        let told = face.ask(call, &[], "").await;
        let text = String::from_utf8(told.body).unwrap();
        assert!(
            told.status == 200 && text.contains("partner") && !text.contains("hunter2"),
            "{text}"
        );
    }
    let gone = face
        .ask("DELETE /v1/config/http_channel/orders", &[], "")
        .await;
    assert_eq!(gone.status, 200);
    assert!(gone.revision().parse::<u64>().unwrap() > put.revision().parse().unwrap());
    face.refused("GET /v1/config/queue/a", "", 404, "not_found")
        .await;
    face.refused(
        "PUT /v1/config/service/a",
        vec![b' '; 70_000],
        413,
        "too_large",
    )
    .await;
    face.refused(
        "PUT /v1/config/service/a?colour=red",
        service,
        400,
        "bad_request",
    )
    .await;
    face.close().await;
}

#[tokio::test]
async fn keys() {
    let face = TestApi::open().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let put = face
        .ask("PUT /v1/kv/a%2Fb/%C3%BC", &[], bytes.clone())
        .await;
    assert_eq!(
        (put.status.as_u16(), &put.json()["key"]),
        (200, &"a/b/\u{fc}".into())
    );
    let read = face.ask("GET /v1/kv/a/b/%C3%BC", &[], "").await;
    assert_eq!(read.body, bytes);
    let tag = read.headers["etag"].to_str().unwrap();
    assert_eq!(tag, format!("\"{}\"", put.revision()));
    let largest = vec![7; 1 << 20];
    assert_eq!(
        face.ask("PUT /v1/kv/big", &[], largest.clone())
            .await
            .status,
        200
    );
    assert_eq!(
        face.ask("GET /v1/kv/big", &[], "").await.body.len(),
        1 << 20
    );
    let problem = face
        .refused(
            "PUT /v1/kv/big",
            [largest, vec![7]].concat(),
            413,
            "too_large",
        )
        .await;
    assert!(problem["detail"].as_str().unwrap().contains("1048576"));

    let claim = [("if-match", tag)];
    let call = "PUT /v1/kv/a/b/%C3%BC";
    assert_eq!(face.ask(call, &claim, "mine").await.status, 200);
    let lost = face.ask(call, &claim, "mine").await;
    assert_eq!(
        (lost.status.as_u16(), &lost.json()["code"]),
        (412, &"precondition_failed".into())
    );
    assert!(lost.headers.contains_key("quorate-revision"));
    let new = [("if-none-match", "*")];
    assert_eq!(face.ask(call, &new, "mine").await.status, 412);
    assert_eq!(face.ask("PUT /v1/kv/new", &new, "").await.status, 200);

    let list = face.ask("GET /v1/kv?prefix=a%2F&limit=1", &[], "").await;
    assert_eq!(
        (
            &list.json()["entries"][0]["value_base64"],
            &list.json()["more"]
        ),
        (&"bWluZQ==".into(), &false.into())
    );
    let stale = face.ask("GET /v1/kv/new?consistency=stale", &[], "").await;
    assert_eq!((stale.status.as_u16(), stale.body.len()), (200, 0));
    assert_eq!(face.ask("DELETE /v1/kv/new", &[], "").await.status, 200);
    for call in ["DELETE /v1/kv/new", "GET /v1/kv/new"] {
        face.refused(call, "", 404, "not_found").await;
    }
    for call in [
        "GET /v1/kv/",
        "GET /v1/kv/%FF",
        "GET /v1/kv/k?consistency=maybe",
        "GET /v1/kv?limit=lots",
        "GET /v1/kv?prefix=%FF",
        "PUT /v1/kv/k?dry_run=true",
    ] {
        face.refused(call, "", 400, "bad_request").await;
    }
    face.close().await;
}
