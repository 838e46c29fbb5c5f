//! Signatures of calls, checked by the recipe in the documentation.

use super::*;

/// Says whether the recipe in the docs believes a request, as it arrived.
fn is_believed(key: &str, arrived: &str) -> bool {
    let docs = include_str!("../../../../../docs/http.md");
    let recipe = docs.split("```python\n").nth(1).unwrap();
    let recipe = recipe.split("```").next().unwrap();
    let script = format!(
        "import hashlib, hmac, sys, time\n{recipe}\n\
         head, body = sys.stdin.buffer.read().split(b'\\r\\n\\r\\n', 1)\n\
         first, *lines = head.decode('latin-1').split('\\r\\n')\n\
         method, target, _ = first.split(' ')\n\
         headers = [line.split(': ', 1) for line in lines]\n\
         print(is_ours(sys.argv[1], method, target, headers, body, time.time()))\n"
    );
    let mut python = std::process::Command::new("python3")
        .args(["-c", &script, key])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3 is there: scripts/setup.sh installs it");
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(arrived.as_bytes()).unwrap();
    drop(stdin);
    let said = python.wait_with_output().unwrap();
    assert!(said.status.success());
    match said.stdout.as_slice() {
        b"True\n" => true,
        b"False\n" => false,
        other => panic!("{other:?}"),
    }
}

const SIGNING_KEY: &str = "between the two of us";

/// A catalog with that key.
fn with_key() -> Catalog {
    let mut machine = quorate_state::Machine::default();
    let key = quorate_state::Command::PutResource {
        kind: quorate_resources::Kind::ApiKey,
        name: "k".into(),
        spec: format!(r#"{{"name": "k", "key": "{SIGNING_KEY}"}}"#).into(),
        precondition: None,
    };
    assert!(machine.apply(1, 1, 1, &key).0.changed());
    machine.state().catalog().clone()
}

// guarantee: SECURITY-7
#[tokio::test]
async fn call_to_signing_service_is_signed_or_refused() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    let mut signed = resource(&[server.url("/a?b=1")]);
    signed.sign = Some("api_key/k".into());
    let lost = HttpUpstream::new(
        &signed,
        &Catalog::default(),
        &UpstreamClients::new(EgressPolicy::default()),
    );
    let error = called(&lost, call(Method::POST)).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::NotRun(told) if told.contains("api_key/k")),
        "{error:?}"
    );
    assert_eq!(server.count(), 0);

    let upstream = HttpUpstream::new(
        &signed,
        &with_key(),
        &UpstreamClients::new(EgressPolicy::default()),
    );
    called(&upstream, call(Method::POST)).await.unwrap();
    let arrived = server.last();
    assert!(arrived.contains("\r\nquorate-signature: t="), "{arrived}");
    assert!(!arrived.contains(SIGNING_KEY), "{arrived}");
    let unsigned = service(&[server.url("/")]);
    called(&unsigned, call(Method::POST)).await.unwrap();
    assert!(!server.last().contains("quorate-signature"));
}

// guarantee: SECURITY-7
#[tokio::test]
async fn documented_recipe_verifies_only_signed_calls() {
    let server = Server::start("a", UpstreamBehavior::SaysItsName).await;
    let mut signed = resource(&[server.url("/base/{id}?own=1")]);
    signed.sign = Some("api_key/k".into());
    let upstream = HttpUpstream::new(
        &signed,
        &with_key(),
        &UpstreamClients::new(EgressPolicy::default()),
    );
    let mut sent = call(Method::PUT);
    sent.params.insert("id".into(), "4/2".into());
    sent.query = Some("q=%20x".into());
    for (name, value) in [
        ("quorate-epoch", "7"),
        ("quorate-header-note", "a%20b"),
        ("quorate-signature", "t=1,body=2,v1=3"),
        ("accept", "*/*"),
    ] {
        sent.headers.insert(name, HeaderValue::from_static(value));
    }
    called(&upstream, sent).await.unwrap();
    let arrived = server.last();
    assert!(is_believed(SIGNING_KEY, &arrived), "{arrived}");
    assert!(!is_believed("another", &arrived));
    for (is, forged) in [
        ("quorate-epoch: 7", "quorate-epoch: 8"),
        ("own=1", "own=2"),
        ("PUT ", "POST "),
        ("hello", "hallo"),
        ("\r\nquorate-epoch: 7", ""),
        ("quorate-signature: t=1", "quorate-signature: t=0"),
    ] {
        assert!(arrived.contains(is), "{is}: {arrived}");
        let forged = arrived.replace(is, forged);
        assert!(!is_believed(SIGNING_KEY, &forged), "{forged}");
    }
}
