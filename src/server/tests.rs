//! A member in this process, called over its ports.

mod browser;
mod folders;
mod long_bodies;
mod newer;

use std::{net::TcpListener, path::Path, time::Duration};

use quorate_service::{Reply, Request, ServiceError, async_trait};
use quorate_testkit::{eventually, ports};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;

const SOON: Duration = Duration::from_secs(30);

/// A promise that is kept beside all the other tests of this program: a member whose lease has
/// lapsed for a moment says that it does not lead.
fn settings(folder: &Path, ports: [u16; 3]) -> Settings {
    let [http, admin, peer] = ports;
    let text = format!(
        "name = \"one\"\nfailover_ms = 5000\nlock_wait_ms = 300\ndrain_ms = 1000\nhttp.bind = \"127.0.0.1:{http}\"\nadmin.bind = \"127.0.0.1:{admin}\"\npeer.bind = \"127.0.0.1:{peer}\"\n"
    );
    Settings::from_toml(&text, folder).unwrap()
}

fn ports() -> [u16; 3] {
    [(); 3].map(|()| ports::free())
}

struct Shout;

#[async_trait]
impl Service for Shout {
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
        let text = String::from_utf8_lossy(&request.body).to_uppercase();
        Ok(Reply::json(text))
    }
}

struct Alive {
    admin: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServerError>>,
    http: reqwest::Client,
}

impl Alive {
    async fn start(settings: Settings, birth: StartMode) -> Alive {
        let admin = settings.admin.advertise.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::builder(settings)
            .start_mode(birth)
            .service("shout", Shout)
            .build()
            .unwrap();
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        let http = quorate_platform::http_client::builder().build().unwrap();
        let alive = Alive {
            admin,
            stop,
            task,
            http,
        };
        // It is ready once its announcement is applied.
        eventually::some("a leader, and ready", SOON, async || {
            assert!(!alive.task.is_finished(), "it ended");
            let ready =
                alive.answers("/v1/cluster/leader").await && alive.answers("/health/ready").await;
            ready.then_some(())
        })
        .await;
        alive
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let url = format!("http://{}{path}", self.admin);
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .timeout(SOON);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let text = response.text().await.ok()?;
        Some((
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        ))
    }

    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        self.ask("GET", path, None).await
    }

    async fn answers(&self, path: &str) -> bool {
        self.get(path)
            .await
            .is_some_and(|(status, _)| status == 200)
    }

    async fn end(self) -> Result<(), ServerError> {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .expect("an end within 10 s")
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn member_answers_on_its_ports_ends_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), ports());
    let one = Alive::start(settings.clone(), StartMode::Bootstrap).await;

    let (status, told) = one.get("/v1/cluster/status").await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(told["leader"]["name"], "one");
    assert_eq!(
        (&told["failure_tolerance"], &told["failures_left"]),
        (&json!(0), &json!(0))
    );
    assert!(
        told["warnings"][0]
            .as_str()
            .unwrap()
            .contains("failure tolerance is 0"),
        "{told}"
    );
    let cluster = told["cluster"].clone();

    for path in ["/health/live", "/health/ready", "/leader"] {
        for method in ["GET", "OPTIONS", "HEAD"] {
            assert_eq!(
                one.ask(method, path, None).await.unwrap().0,
                200,
                "{method} {path}"
            );
        }
    }
    let (_, members) = one.get("/v1/cluster/members").await.unwrap();
    assert_eq!(members["members"][0]["state"], "alive");
    assert_eq!(members["members"][0]["role"], "voter");
    assert!(settings.pid_file.exists());

    let (status, shouted) = one
        .ask("POST", "/v1/services/shout/invoke", Some(json!("loud")))
        .await
        .unwrap();
    assert_eq!((status, shouted), (200, json!("LOUD")));
    one.end().await.unwrap();
    assert!(!settings.pid_file.exists());

    let again = Alive::start(settings, StartMode::Resume).await;
    let (_, told) = again.get("/v1/cluster/status").await.unwrap();
    assert_eq!(told["cluster"], cluster);
    again.end().await.unwrap();
}

/// Method, path, body; the status, the code and a part of the text of the answer.
const REFUSED: &[(&str, &str, &str, u16, &str, &str)] = &[
    ("GET", "/nowhere", "", 404, "not_found", "/nowhere"),
    ("GET", "/v1", "", 404, "not_found", "/v1"),
    (
        "POST",
        "/health/live",
        "",
        405,
        "method_not_allowed",
        "POST",
    ),
    (
        "DELETE",
        "/v1/cluster/leader",
        "",
        405,
        "method_not_allowed",
        "DELETE",
    ),
    (
        "GET",
        "/v1/cluster/join",
        "",
        405,
        "method_not_allowed",
        "GET",
    ),
    ("POST", "/v1/cluster/join", "{}", 400, "bad_request", "name"),
    (
        "POST",
        "/v1/cluster/join",
        "{\"name\":\"b\",\"http\":\"h:1\",\"admin\":\"h:2\",\"peer\":\"h:3\",\"x\":1}",
        400,
        "bad_request",
        "x",
    ),
    (
        "POST",
        "/v1/cluster/join",
        "{\"name\":\"two words\",\"http\":\"h\",\"admin\":\"h:0\",\"peer\":\"h:3\"}",
        422,
        "invalid",
        "admin",
    ),
    (
        "POST",
        "/v1/cluster/join",
        "{\"name\":\"one\",\"http\":\"h:1\",\"admin\":\"h:2\",\"peer\":\"h:3\"}",
        409,
        "conflict",
        "is taken by member",
    ),
    (
        "PUT",
        "/v1/cluster/settings",
        "{\"failover_ms\":99}",
        422,
        "invalid",
        "must be a whole number from 100 to 60000",
    ),
    (
        "PUT",
        "/v1/cluster/settings",
        "{\"failover\":500,\"failover_ms\":500}",
        422,
        "invalid",
        "failover_ms is the only one",
    ),
    ("PUT", "/v1/cluster/settings", "{", 400, "bad_request", ""),
    (
        "POST",
        "/v1/cluster/transfer-leadership",
        "",
        409,
        "conflict",
        "no other voter",
    ),
    (
        "POST",
        "/v1/cluster/transfer-leadership",
        "{\"to\":\"one\"}",
        409,
        "conflict",
        "leads already",
    ),
    (
        "POST",
        "/v1/cluster/transfer-leadership",
        "{\"to\":\"nobody\"}",
        404,
        "not_found",
        "the members are one",
    ),
    (
        "POST",
        "/v1/cluster/transfer-leadership",
        "{\"too\":\"one\"}",
        400,
        "bad_request",
        "too",
    ),
    (
        "POST",
        "/v1/services/nothing/invoke",
        "{}",
        404,
        "not_found",
        "nothing",
    ),
    (
        "POST",
        "/v1/services/%ff/invoke",
        "{}",
        400,
        "bad_request",
        "",
    ),
    (
        "POST",
        "/v1/config/validate",
        "{\"resources\":[{\"kind\":\"queue\",\"name\":\"a\",\"spec\":{}}]}",
        400,
        "bad_request",
        "queue",
    ),
    ("POST", "/v1/config/validate", "[", 400, "bad_request", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_a_problem_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let one = Alive::start(settings(dir.path(), ports()), StartMode::Bootstrap).await;
    let (_, before) = one.get("/v1/cluster/members").await.unwrap();
    for (method, path, body, status, code, text) in REFUSED {
        let url = format!("http://{}{path}", one.admin);
        let mut request = one.http.request(method.parse().unwrap(), url).timeout(SOON);
        if !body.is_empty() {
            request = request
                .header("content-type", "application/json")
                .body(*body);
        }
        let response = request.send().await.unwrap();
        let case = format!("{method} {path} {body}");
        assert_eq!(response.status().as_u16(), *status, "{case}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{case}"
        );
        let told: Value = response.json().await.unwrap();
        assert_eq!(told["code"], *code, "{case}: {told}");
        assert!(told.to_string().contains(text), "{case}: {told}");
    }
    let (_, after) = one.get("/v1/cluster/members").await.unwrap();
    assert_eq!(before["members"][0]["id"], after["members"][0]["id"]);
    assert_eq!(
        after["members"].as_array().unwrap().len(),
        1,
        "a newcomer was taken in: {after}"
    );
    one.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_judges_together_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let one = Alive::start(settings(dir.path(), ports()), StartMode::Bootstrap).await;
    let service = json!({ "kind": "service", "name": "a", "spec": { "name": "a", "upstream": "http://127.0.0.1:9" } });
    let channel = json!({ "kind": "http_channel", "name": "a", "spec": { "name": "a", "path": "/a", "service": "a" } });
    let bad = json!({ "kind": "http_channel", "name": "b", "spec": { "name": "b", "path": "b", "service": "nowhere" } });
    let request = json!({ "resources": [service, channel, bad] });
    let (status, told) = one
        .ask("POST", "/v1/config/validate", Some(request))
        .await
        .unwrap();
    assert_eq!(status, 200);
    let fates: Vec<&str> = told["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["fate"].as_str().unwrap())
        .collect();
    assert_eq!(fates, ["created", "created", "refused"]);
    assert!(
        told["verdicts"][2]["errors"][0]["field"].is_string(),
        "{told}"
    );
    let (_, listed) = one.get("/v1/config").await.unwrap();
    assert_eq!(listed["resources"], json!([]));

    let (status, metrics) = one.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    let metrics = metrics.as_str().unwrap();
    for name in [
        "# HELP quorate_is_leader",
        "quorate_members{role=\"voter\"} 1",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(name), "{name} is not in:\n{metrics}");
    }
    one.end().await.unwrap();
}

fn refusal(outcome: Result<(), ServerError>) -> String {
    match outcome {
        Err(ServerError::Refused(text)) => text,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn run(settings: Settings, birth: StartMode) -> Result<(), ServerError> {
    let server = Server::builder(settings).start_mode(birth).build().unwrap();
    tokio::time::timeout(SOON, server.run(std::future::pending()))
        .await
        .expect("an end in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_can_not_be_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let free = settings(dir.path(), ports());
    let told = refusal(run(free.clone(), StartMode::Resume).await);
    assert!(
        told.contains("--join ADMIN_URL") && told.contains("--bootstrap"),
        "{told}"
    );
    assert!(!free.data_dir.exists(), "a refused start has written");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ports = ports();
    ports[1] = taken.local_addr().unwrap().port();
    let told = refusal(run(settings(dir.path(), ports), StartMode::Bootstrap).await);
    assert!(
        told.contains(&format!("admin: port {}", ports[1])) && told.contains("admin.bind"),
        "{told}"
    );
    assert!(!free.data_dir.exists(), "a refused start has written");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_is_for_one_member() {
    let dir = tempfile::tempdir().unwrap();
    let mine = settings(dir.path(), ports());
    let one = Alive::start(mine.clone(), StartMode::Bootstrap).await;
    let told = refusal(run(mine, StartMode::Resume).await);
    assert!(told.contains("one is running already"), "{told}");
    let told = refusal(run(settings(dir.path(), ports()), StartMode::Resume).await);
    assert!(told.contains("data"), "{told}");

    // Told to join another cluster than its own.
    let other_dir = tempfile::tempdir().unwrap();
    let others = settings(other_dir.path(), ports());
    let two = Alive::start(others.clone(), StartMode::Bootstrap).await;
    two.end().await.unwrap();
    let url = format!("http://{}", one.admin).parse().unwrap();
    let told = refusal(run(others, StartMode::Join(vec![url])).await);
    assert!(told.contains("a member can't change clusters"), "{told}");
    one.end().await.unwrap();
}

#[test]
fn services_need_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let build = |names: &[&str]| {
        let builder = Server::builder(settings(dir.path(), [1, 2, 3]));
        names
            .iter()
            .fold(builder, |builder, name| builder.service(*name, Shout))
            .build()
    };
    assert!(build(&["a", "b"]).is_ok());
    for (names, right) in [
        (&["a", "a"][..], "two services"),
        (&["ping"], "built in"),
        (&["a b"], "a b"),
    ] {
        let Err(ServerError::Refused(told)) = build(names) else {
            panic!("{names:?} were taken")
        };
        assert!(told.contains(right), "{told}");
    }
}
