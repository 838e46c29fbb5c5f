//! What each role may do, and what is told to those who may not.

use serde_json::{Value, json};

use super::{SOON, SecureCluster, code};
use quorate_testkit::eventually::eventually;

const PAGE: &str = include_str!("../../../docs/permissions.md");
const ROLES: [&str; 7] = [
    "admin", "operator", "editor", "reader", "caller", "sender", "metrics",
];

/// A row of the page: the call, whether it asks who calls, and for each role whether it may.
fn rows() -> Vec<(String, bool, [bool; 7])> {
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim_matches('|').split('|');
        cells.map(|it| it.trim().to_owned()).collect()
    };
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells = cells(line);
        let call = cells[0].trim_matches('`').replace("GET, OPTIONS", "GET");
        let may = std::array::from_fn(|n| cells[3 + n] == "x");
        (call, cells[2] != "asks nobody", may)
    })
    .collect()
}

/// Fills in the parts of a path, and gives a body that the call takes.
fn request(call: &str) -> (String, String) {
    let call = call
        .replace("{kind}", "amqp_outgoing")
        .replace("{name}", "a")
        .replace("{*key}", "a")
        .replace("{id}", "abcdefgh");
    let call = match call.as_str() {
        "GET /v1/kv" | "GET /v1/watch" => format!("{call}?prefix=a"),
        _ => call,
    };
    let outgoing = json!({"name": "a", "connection": "a", "exchange": "", "routing_key": "a"});
    let body = match call.as_str() {
        "POST /v1/config/apply" | "POST /v1/config/validate" => {
            json!({"resources": [{"kind": "amqp_outgoing", "name": "a", "spec": outgoing}]})
        }
        "POST /v1/security/tokens" => json!({"identity": "nobody"}),
        _ => json!({}),
    };
    (call, body.to_string())
}

/// Security test 26: every call, as every role, and as nobody.
// guarantee: ACCESS-1
#[tokio::test]
async fn each_call_meets_the_permission_table() {
    let secure = SecureCluster::start(1).await;
    let rows = rows();
    assert!(rows.len() > 30, "{rows:?}");
    for (call, asks, _) in &rows {
        let (request, body) = request(call);
        let nobody = secure.call_with(0, &[], &request, &body).await;
        let status = nobody.status().as_u16();
        if *asks {
            assert_eq!(nobody.headers()["www-authenticate"], "Bearer", "{call}");
            assert_eq!(
                code(nobody).await,
                (401, "unauthenticated".into()),
                "{call}"
            );
        } else {
            assert!([200, 503].contains(&status), "{call}: {status}");
        }
    }
    for path in ["GET /", "GET /v1/nothing", "POST /v1/config/nothing"] {
        assert_eq!(
            secure.call_with(0, &[], path, "").await.status(),
            401,
            "{path}"
        );
    }
    for (n, role) in ROLES.into_iter().enumerate() {
        let token = secure.identity(&format!("as-{role}"), &[role]).await;
        for (call, _, may) in &rows {
            let (request, body) = request(call);
            let answer = secure.call(0, &token, &request, &body).await;
            let status = answer.status().as_u16();
            let is_refused = [401, 403].contains(&status);
            assert_eq!(is_refused, !may[n], "{call} as {role}: {status}");
            if is_refused {
                assert_eq!(code(answer).await, (403, "forbidden".into()), "{call}");
            }
        }
    }
}

/// A role for one team's resources and keys.
async fn team(secure: &SecureCluster) -> String {
    let grants = json!([
        {"verbs": ["write", "delete"], "kinds": ["service", "http_channel"], "names": ["team-*"]},
        {"verbs": ["write"], "prefixes": ["team/"]},
        {"verbs": ["read"], "prefixes": ["team/"]},
    ]);
    let role = json!({"name": "team", "grants": grants});
    secure.put("role", role).await;
    secure.identity("ann", &["team"]).await
}

/// Security tests 29 and 30: what may not be read isn't told by trying, and nothing is smuggled.
// guarantee: ACCESS-4
#[tokio::test]
async fn refused_caller_learns_nothing_of_others() {
    let secure = SecureCluster::start(1).await;
    let ann = team(&secure).await;
    let hidden = json!({"name": "hidden", "upstream": "http://127.0.0.1:9"});
    secure.put("service", hidden.clone()).await;
    let taken = json!({"name": "hidden-path", "path": "/taken", "service": "hidden"});
    secure.put("http_channel", taken).await;
    let own = json!({"name": "team-a", "upstream": "http://127.0.0.1:9"});
    secure.put("service", own.clone()).await;
    let rival = json!({"name": "team-a", "path": "/taken", "service": "team-a"});
    let depends = json!({"name": "hidden-too", "path": "/b", "service": "team-a"});
    secure.put("http_channel", depends).await;
    let refused = [
        ("PUT /v1/config/service/hidden", hidden.clone()),
        ("PUT /v1/config/service/hidden?dry_run=true", hidden.clone()),
        ("PUT /v1/config/service/none?dry_run=true", own.clone()),
        ("DELETE /v1/config/service/hidden", Value::Null),
        ("DELETE /v1/config/service/none", Value::Null),
        ("GET /v1/config/service/hidden", Value::Null),
        ("GET /v1/config/service/none", Value::Null),
        ("GET /v1/config/service/team-a", Value::Null),
        ("GET /v1/config", Value::Null),
        ("GET /v1/config/service", Value::Null),
        ("GET /v1/kv?prefix=tea", Value::Null),
        ("GET /v1/kv?prefix=", Value::Null),
        ("GET /v1/kv?prefix=&after=team/", Value::Null),
        ("GET /v1/watch?from=0", Value::Null),
        ("GET /v1/watch?prefix=team", Value::Null),
        ("PUT /v1/config/identity/ann", json!({"roles": ["admin"]})),
        (
            "PUT /v1/config/role/team",
            json!({"grants": [{"verbs": ["grant"]}]}),
        ),
    ];
    for (call, body) in refused {
        let told = code(secure.call(0, &ann, call, body).await).await;
        assert_eq!(told, (403, "forbidden".into()), "{call}");
    }
    let batch = |kind: &str, name: &str, spec: &Value| json!({"resources": [{"kind": kind, "name": name, "spec": spec}]});
    let identity = json!({"name": "ann", "roles": ["admin"]});
    for call in ["POST /v1/config/apply", "POST /v1/config/validate"] {
        for body in [
            batch("service", "hidden", &hidden),
            batch("identity", "ann", &identity),
        ] {
            let told = code(secure.call(0, &ann, call, &body).await).await;
            assert_eq!(told, (403, "forbidden".into()), "{call} {body}");
        }
    }
    // A kind in the body is no other kind.
    let smuggled = json!({"kind": "identity", "name": "team-a", "roles": ["admin"]});
    let told = secure
        .call(0, &ann, "PUT /v1/config/service/team-a", smuggled)
        .await;
    assert_eq!(told.status(), 422);
    for (call, body) in [
        ("PUT /v1/config/http_channel/team-a", rival.clone()),
        (
            "PUT /v1/config/http_channel/team-a?dry_run=true",
            rival.clone(),
        ),
        (
            "POST /v1/config/apply",
            batch("http_channel", "team-a", &rival),
        ),
        (
            "POST /v1/config/validate",
            batch("http_channel", "team-a", &rival),
        ),
        ("DELETE /v1/config/service/team-a", Value::Null),
    ] {
        let answer = secure.call(0, &ann, call, body).await;
        let status = answer.status().as_u16();
        assert!([200, 409, 422].contains(&status), "{call}: {status}");
        let text = answer.text().await.expect("a body");
        assert!(!text.contains("hidden"), "{call}: {text}");
    }
    let conditional = [
        ("authorization", &*format!("Bearer {ann}")),
        ("if-match", "\"1\""),
    ];
    let told = secure
        .call_with(0, &conditional, "PUT /v1/config/service/team-a", own)
        .await;
    assert_eq!(code(told).await, (403, "forbidden".into()));
}

/// Security test 28: a watch ends where its permission does, and shows nothing after it.
// guarantee: ACCESS-2
#[tokio::test]
async fn watch_ends_with_its_permission() {
    let secure = SecureCluster::start(1).await;
    let ann = team(&secure).await;
    let mut watch = secure.call(0, &ann, "GET /v1/watch?prefix=team/", "").await;
    assert_eq!(watch.status(), 200);
    let mut seen = String::new();
    let root = secure.root.clone();
    assert_eq!(
        secure
            .call(0, &root, "PUT /v1/kv/team/a", "1")
            .await
            .status(),
        200
    );
    while !seen.contains("team/a") {
        let chunk = watch.chunk().await.expect("a stream").expect("a chunk");
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    let narrower = json!({"name": "team", "grants": [{"verbs": ["read"], "prefixes": ["team/x"]}]});
    secure.put("role", narrower).await;
    assert_eq!(
        secure
            .call(0, &root, "PUT /v1/kv/team/b", "1")
            .await
            .status(),
        200
    );
    while let Ok(Some(chunk)) = watch.chunk().await {
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(seen.contains("event: forbidden"), "{seen}");
    assert!(!seen.contains("team/b"), "{seen}");
}

/// Security test 36: without a quorum what was applied still counts.
// guarantee: ACCESS-1
#[tokio::test]
async fn permissions_hold_without_a_quorum() {
    let mut secure = SecureCluster::start(3).await;
    let ann = team(&secure).await;
    let root = secure.root.clone();
    assert_eq!(
        secure
            .call(0, &root, "PUT /v1/kv/team/a", "1")
            .await
            .status(),
        200
    );
    let stale = "GET /v1/kv/team/a?consistency=stale";
    eventually("the last member has applied it", SOON, async || {
        let status = secure.call(2, &ann, stale, "").await.status().as_u16();
        (status == 200)
            .then_some(())
            .ok_or_else(|| status.to_string())
    })
    .await;
    for n in [0, 1] {
        secure.cluster.members[n].kill();
    }
    for (token, call, expected) in [
        (&*ann, stale, 200),
        (&*ann, "GET /v1/kv/other?consistency=stale", 403),
        (&*ann, "PUT /v1/kv/other", 403),
        ("qt1_wrong", stale, 401),
        (&*root, stale, 200),
    ] {
        let told = secure.call(2, token, call, "").await.status();
        assert_eq!(told, expected, "{call}");
    }
    assert!(secure.cluster.members[2].running());
}

/// Security test 32: a member passes on whose request it is, and nobody else can.
// guarantee: ACCESS-5
#[tokio::test]
async fn passed_on_request_keeps_its_caller() {
    let secure = SecureCluster::start(3).await;
    let root = secure.root.clone();
    let reader = secure.identity("ron", &["reader"]).await;
    let operator = secure.identity("olga", &["operator"]).await;
    let leader = async || {
        let told = secure.json(0, &root, "/v1/cluster/leader").await;
        told["leader"]["name"].as_str().map(str::to_owned)
    };
    let name = leader().await.expect("a leader");
    let follower = (0..3).find(|n| secure.cluster.members[*n].name != name);
    let follower = follower.expect("a follower");
    // Only the leader and the connector server know these: a follower asks them as a member.
    for path in [
        "/v1/cluster/members",
        "/v1/connectors",
        "/v1/cluster/status",
    ] {
        let answer = secure
            .call(follower, &reader, &format!("GET {path}"), "")
            .await;
        assert_eq!(answer.status(), 200, "{path}");
    }
    let status = secure.json(follower, &reader, "/v1/cluster/status").await;
    let warnings = status["warnings"].to_string();
    assert!(!warnings.contains("can't ask"), "{warnings}");
    // Not for outsiders: the mark of a request that was passed on counts for nothing.
    let bearer = format!("Bearer {reader}");
    let marked = [("authorization", &*bearer), ("quorate-passed-on", "1")];
    let told = secure
        .call_with(follower, &marked, "GET /v1/connectors", "")
        .await;
    assert_eq!(told.status(), 200);
    for word in ["1 1 host AAAA", "host", "", "1 99999999999999 member x y"] {
        let forged = [("authorization", &*bearer), ("quorate-on-behalf", word)];
        let told = secure.call_with(0, &forged, "PUT /v1/kv/a", "").await;
        assert!([401, 403].contains(&told.status().as_u16()), "{word}");
    }
    let transfer = "POST /v1/cluster/transfer-leadership";
    let refused = secure.call(follower, &reader, transfer, "").await;
    assert_eq!(code(refused).await, (403, "forbidden".into()));
    let done = secure.call(follower, &operator, transfer, "").await;
    assert_eq!(done.status(), 200);
    assert_ne!(leader().await, Some(name));
}
