//! The table, as the page for users has it, and as requests meet it.

use std::{fmt::Write, fs, path::Path};

use axum::body::Body;
use http::StatusCode;
use quorate_state::{Catalog, Permissions};
use tower::ServiceExt;

use super::*;

const PAGE: &str = "docs/permissions.md";
const ROLES: [&str; 7] = [
    "admin", "operator", "editor", "reader", "caller", "sender", "metrics",
];

fn permissions(role: &str) -> Permissions {
    Permissions::of_roles(&[role.to_owned()], &Catalog::default())
}

/// A scope of the sort that a call has, of a thing like any other.
fn sample(scope: RouteScope) -> Option<AccessScope> {
    let name = || "a".to_owned();
    Some(match scope {
        RouteScope::Open | RouteScope::Known => return None,
        RouteScope::Cluster => AccessScope::Cluster,
        RouteScope::AllKinds => AccessScope::AllKinds,
        RouteScope::AllIdentities => AccessScope::Kind(Kind::Identity),
        RouteScope::KindInPath => AccessScope::Kind(Kind::AmqpOutgoing),
        RouteScope::ResourceInPath => AccessScope::Resource {
            kind: Kind::AmqpOutgoing,
            name: name(),
        },
        RouteScope::KeyInPath => AccessScope::Key(name()),
        RouteScope::PrefixInQuery => AccessScope::Prefix(name()),
        RouteScope::ServiceInPath => AccessScope::Service(name()),
        RouteScope::Body => return None,
    })
}

/// What the handlers of [`RouteScope::Body`] ask for, of a thing like any other.
fn sample_of_body(rule: &RouteRule) -> AccessScope {
    let kind = match rule.verb {
        AccessVerb::Grant => Kind::Identity,
        _ => Kind::AmqpOutgoing,
    };
    AccessScope::Resource {
        kind,
        name: "a".into(),
    }
}

fn in_words(scope: RouteScope) -> &'static str {
    match scope {
        RouteScope::Open => "asks nobody",
        RouteScope::Known => "anyone who is known",
        RouteScope::Cluster => "the cluster",
        RouteScope::AllKinds => "every resource",
        RouteScope::AllIdentities => "every identity",
        RouteScope::KindInPath => "every resource of the kind",
        RouteScope::ResourceInPath => "the resource",
        RouteScope::KeyInPath => "the key",
        RouteScope::PrefixInQuery => "every key with the prefix",
        RouteScope::ServiceInPath => "the service",
        RouteScope::Body => "each thing that is named",
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Who may call what\n\n\
         This page is written by a test from the one table that the router is built from (`src/admin/access.rs`), and held to it: `QUORATE_WRITE_PERMISSIONS=1 cargo test --lib access` writes it anew. What roles and grants are stands in [security.md](security.md).\n\n\
         An `x` is a role that is built in and may make the call for anything of that sort; `editor` and all others but `admin` reach no `role` and no `identity`. A role of one's own has the same verbs for a narrower scope.\n\n",
    );
    let _ = writeln!(page, "| call | verb | scope | {} |", ROLES.join(" | "));
    let _ = writeln!(page, "|---|---|---|{}", "---|".repeat(ROLES.len()));
    for rule in TABLE {
        let scope = sample(rule.scope)
            .or_else(|| (rule.scope == RouteScope::Body).then(|| sample_of_body(rule)));
        let may = ROLES.map(|role| {
            let allowed = scope.as_ref().is_none_or(|scope| {
                let required = AccessRequirement::new(rule.verb, scope.clone());
                permissions(role).allow(&required)
            });
            if allowed { "x" } else { "" }
        });
        let verb = match rule.scope {
            RouteScope::Open | RouteScope::Known => "",
            _ => rule.verb.as_str(),
        };
        let _ = writeln!(
            page,
            "| `{} {}` | {verb} | {} | {} |",
            rule.method,
            rule.path,
            in_words(rule.scope),
            may.join(" | ")
        );
    }
    page
}

/// Security test 26, on paper: the page is the table. `tests/it/identity.rs` asks each call of it.
#[test]
fn page_is_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("QUORATE_WRITE_PERMISSIONS").is_some() {
        fs::write(&file, page()).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page(), "{PAGE} is not the table: see its head");
}

async fn status(caller: Option<Caller>, request: &str) -> StatusCode {
    let (method, uri) = request.split_once(' ').unwrap();
    let handler = async || "reached";
    let router = Routes::<()>::new()
        .on(&READ_KEY, handler)
        .on(&PUT_KEY, handler)
        .on(&LIST_KEYS, handler)
        .on(&LIST_KIND, handler)
        .on(&READ_RESOURCE, handler)
        .on(&INVOKE, handler)
        .on(&HEALTH_LIVE, handler)
        .into_router();
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .body(Body::empty())
        .unwrap();
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    router.oneshot(request).await.unwrap().status()
}

fn with_grants(grants: serde_json::Value) -> Caller {
    use quorate_state::{Command, Machine};
    let mut machine = Machine::default();
    let puts = [
        (
            Kind::AccessRole,
            serde_json::json!({"name": "r", "grants": grants}),
        ),
        (
            Kind::Identity,
            serde_json::json!({"name": "ann", "roles": ["r"]}),
        ),
    ];
    for (index, (kind, spec)) in (1..).zip(puts) {
        let put = Command::PutResource {
            kind,
            name: spec["name"].as_str().unwrap().into(),
            spec: spec.to_string().into(),
            precondition: None,
        };
        machine.apply(index, 1, 1, &put);
    }
    Caller::of_token(machine.state(), "ann", "", None, ("127.0.0.1", 1)).unwrap()
}

/// Security test 28, for lists.
// guarantee: ACCESS-1
#[tokio::test]
async fn scope_of_request_is_what_handler_reads() {
    let caller = with_grants(serde_json::json!([
        {"verbs": ["read"], "prefixes": ["a/\u{fc}"]},
        {"verbs": ["read"], "kinds": ["service"], "names": ["x-*"]},
        {"verbs": ["invoke"], "services": ["x-*"]},
    ]));
    for (request, expected) in [
        ("GET /v1/kv/a/%C3%BC", 200),
        ("GET /v1/kv/a%2F%c3%bc/b", 200),
        ("GET /v1/kv/a/%C3", 400),
        ("GET /v1/kv/a", 403),
        ("GET /v1/kv/b", 403),
        ("PUT /v1/kv/a/%C3%BC", 403),
        ("GET /v1/kv?prefix=a/%C3%BC", 200),
        ("GET /v1/kv?prefix=a%2F%C3%BCb&after=b", 200),
        ("GET /v1/kv?prefix=a/", 403),
        ("GET /v1/kv?prefix=", 403),
        ("GET /v1/kv", 403),
        ("GET /v1/kv?prefix=a/%C3%BC&prefix=b", 400),
        ("GET /v1/config/service", 403),
        ("GET /v1/config/service/x-1", 200),
        ("GET /v1/config/service/x%2D1", 200),
        ("GET /v1/config/service/y", 403),
        ("GET /v1/config/identity/x-1", 403),
        ("GET /v1/config/queue/x-1", 404),
        ("POST /v1/services/x-1/invoke", 200),
        ("POST /v1/services/y/invoke", 403),
        ("GET /health/live", 200),
    ] {
        let told = status(Some(caller.clone()), request).await;
        assert_eq!(told, expected, "{request}");
    }
}

#[tokio::test]
async fn request_of_nobody_reaches_no_handler() {
    assert_eq!(status(None, "GET /v1/kv/a").await, 500);
    assert_eq!(status(None, "GET /health/live").await, 200);
    let anyone = || Some(Caller::anyone());
    assert_eq!(status(anyone(), "GET /v1/kv/%ff").await, 200);
}
