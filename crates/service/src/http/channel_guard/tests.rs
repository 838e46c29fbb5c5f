//! Objects of a channel together: any of some, and each of others.

use base64::{Engine, prelude::BASE64_STANDARD};
use quorate_platform::egress::EgressPolicy;
use quorate_resources::{Kind, Resource};
use serde_json::{Value, json};

use super::*;
use crate::{testing::StateFixture, upstream::UpstreamClients};

/// A channel's guard with these lists, asked with these headers.
async fn ask(lists: Value, sent: &[(&'static str, &str)]) -> Result<Option<String>, GuardRefusal> {
    let mut group = StateFixture::new();
    group.put(
        Kind::BasicAuth,
        "ann",
        json!({"username": "ann", "password": "secret"}),
    );
    group.put(Kind::ApiKey, "key", json!({"key": "k3y"}));
    let mut spec = lists;
    let fields = json!({"name": "c", "path": "/c", "service": "s"});
    let fields = fields.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(fields);
    let Ok(Resource::HttpChannel(channel)) = Resource::parse(Kind::HttpChannel, &spec) else {
        panic!("{spec} should be a channel")
    };
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        headers.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let state = group.watch().borrow().clone();
    let guard = ChannelGuard::from_channel(&channel, state.catalog());
    let memory = CheckMemory::new(UpstreamClients::new(EgressPolicy::default()).shared());
    let outcome = guard.check(&mut headers, None, None, &memory).await;
    if !guard.is_open() {
        assert!(
            headers.is_empty(),
            "credentials stay in the request: {headers:?}"
        );
    }
    outcome.map(|caller| caller.map(|it| it.name().to_owned()))
}

fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

#[tokio::test]
async fn any_object_will_do() {
    let lists = || json!({"security": ["basic_auth/ann", "api_key/key"]});
    let good = basic("ann:secret");
    for (sent, caller) in [
        (vec![("authorization", good.as_str())], "basic_auth/ann"),
        (vec![("x-api-key", "k3y")], "api_key/key"),
        (
            vec![("authorization", "Bearer x"), ("x-api-key", "k3y")],
            "api_key/key",
        ),
        (
            vec![("authorization", &*good), ("x-api-key", "wrong")],
            "basic_auth/ann",
        ),
    ] {
        assert_eq!(ask(lists(), &sent).await.unwrap().as_deref(), Some(caller));
    }
    let refused = ask(lists(), &[]).await.unwrap_err();
    assert_eq!(
        (refused.refusal.status.as_u16(), refused.failed),
        (401, None)
    );
    let (_, challenge) = refused.refusal.header.unwrap();
    assert_eq!(
        challenge,
        "Basic realm=\"ann\", charset=\"UTF-8\", ApiKey realm=\"key\", header=\"x-api-key\""
    );
    let refused = ask(lists(), &[("x-api-key", "wrong")]).await.unwrap_err();
    assert_eq!(refused.failed, Some("key"));
}

// guarantee: SECURITY-31
#[tokio::test]
async fn each_object_is_needed() {
    let lists = || json!({"security_all": ["basic_auth/ann", "api_key/key"]});
    let good = basic("ann:secret");
    let both = [("authorization", good.as_str()), ("x-api-key", "k3y")];
    let caller = ask(lists(), &both).await.unwrap();
    assert_eq!(caller.as_deref(), Some("basic_auth/ann, api_key/key"));
    for sent in [&both[..1], &both[1..], &[]] {
        assert_eq!(ask(lists(), sent).await.unwrap_err().refusal.status, 401);
    }
    let mixed = || json!({"security": "basic_auth/ann", "security_all": ["api_key/key"]});
    assert!(ask(mixed(), &both).await.is_ok());
    assert!(ask(mixed(), &both[..1]).await.is_err());
    assert!(ask(mixed(), &both[1..]).await.is_err());
}

// guarantee: SECURITY-31
#[tokio::test]
async fn object_that_is_not_there_opens_nothing() {
    for lists in [
        json!({"security": "api_key/gone"}),
        json!({"security_all": ["api_key/gone"]}),
        json!({"security": "jwt/gone"}),
    ] {
        let refused = ask(lists, &[]).await.unwrap_err();
        assert_eq!(
            (refused.refusal.status.as_u16(), refused.failed),
            (500, None)
        );
    }
    // Beside one that can be used it is as if it weren't there.
    let lists = json!({"security": ["api_key/gone", "api_key/key"]});
    assert!(ask(lists.clone(), &[("x-api-key", "k3y")]).await.is_ok());
    assert_eq!(ask(lists, &[]).await.unwrap_err().refusal.status, 401);
}

#[tokio::test]
async fn open_channel_asks_for_nothing() {
    let sent = [("authorization", "Basic x")];
    assert_eq!(ask(json!({}), &sent).await.unwrap(), None);
}
