//! People and programs at the admin port: tokens, roles, the local socket, with real members.

mod access;
mod audit;
mod tokens;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use quorate_testkit::{
    cluster::TestCluster, eventually::eventually, http, member::MemberProcess, programs::QUORATE,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// A cluster that asks everybody who he is, and the token of its administrator.
struct SecureCluster {
    cluster: TestCluster,
    root: String,
}

impl SecureCluster {
    async fn start(size: usize) -> SecureCluster {
        SecureCluster::start_with(size, "").await
    }

    /// Starts with more lines in each member's settings.
    async fn start_with(size: usize, extra: &str) -> SecureCluster {
        let extra = format!("security.mode = \"on\"\n{extra}");
        let mut cluster = TestCluster::prepare(size, 500, &extra);
        cluster.members.iter().for_each(trust_network);
        cluster.members[0].start(&["--bootstrap"]);
        is_ready(&cluster.members[0]).await;
        let config = cluster.members[0].config();
        let config = config.to_str().expect("a path in UTF-8");
        let root = done(&quorate(&[
            "admin", "create", "--name", "root", "--config", config,
        ]));
        let mut secure = SecureCluster { cluster, root };
        let file = secure.token_file("root", &secure.root);
        let join = secure.cluster.members[0].admin_url("");
        let file = file.to_str().expect("a path in UTF-8");
        for member in &mut secure.cluster.members[1..] {
            member.start(&["--join", &join, "--token-file", file]);
            is_ready(member).await;
        }
        secure.all_vote(size).await;
        secure
    }

    fn token_file(&self, name: &str, token: &str) -> PathBuf {
        let file = self.cluster.members[0].dir.join(format!("{name}.token"));
        fs::write(&file, token).expect("a token file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
        file
    }

    async fn all_vote(&self, size: usize) {
        for n in 0..size {
            eventually("all members vote", SOON, async || {
                let told = self.json(n, &self.root, "/v1/cluster/members").await;
                let members = told["members"].as_array().cloned().unwrap_or_default();
                let voters = members.iter().filter(|it| it["role"] == "voter").count();
                (voters == size)
                    .then_some(())
                    .ok_or_else(|| told.to_string())
            })
            .await;
        }
    }

    /// Asks one member with a token.
    async fn call(&self, n: usize, token: &str, call: &str, body: impl ToString) -> Response {
        let bearer = format!("Bearer {token}");
        self.call_with(n, &[("authorization", &bearer)], call, body)
            .await
    }

    async fn call_with(
        &self,
        n: usize,
        headers: &[(&str, &str)],
        call: &str,
        body: impl ToString,
    ) -> Response {
        let (method, path) = call.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        let url = self.cluster.members[n].admin_url(path);
        let mut all = vec![
            ("content-type", "application/json"),
            ("quorate-within-ms", "200"),
        ];
        all.extend_from_slice(headers);
        let answer = http::call(method, url, &all, body.to_string()).await;
        answer.expect("an answer")
    }

    async fn json(&self, n: usize, token: &str, path: &str) -> Value {
        let answer = self.call(n, token, &format!("GET {path}"), "").await;
        answer.json().await.unwrap_or_default()
    }

    /// Makes an identity with these roles, and a token of it.
    async fn identity(&self, name: &str, roles: &[&str]) -> String {
        let identity = json!({"name": name, "roles": roles});
        self.put("identity", identity).await;
        let body = json!({"identity": name});
        let answer = self
            .call(0, &self.root, "POST /v1/security/tokens", body)
            .await;
        assert_eq!(answer.status(), 201);
        let told: Value = answer.json().await.expect("a token");
        told["token"].as_str().expect("a token").to_owned()
    }

    /// Puts a resource as administrator.
    async fn put(&self, kind: &str, resource: Value) {
        let name = resource["name"].as_str().expect("a name");
        let call = format!("PUT /v1/config/{kind}/{name}");
        let answer = self.call(0, &self.root, &call, &resource).await;
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert_eq!(status, 200, "{text}");
    }
}

/// Says in a member's settings that the network is trusted: there is no TLS in these tests.
fn trust_network(member: &MemberProcess) {
    let text = fs::read_to_string(member.config()).expect("its settings");
    let trusting = text.replacen("insecure = false", "insecure = [\"admin\", \"peer\"]", 1);
    fs::write(member.config(), trusting).expect("its settings");
}

async fn is_ready(member: &MemberProcess) {
    let url = member.admin_url("/health/ready");
    eventually("the member is ready", SOON, async || {
        http::succeeds(&url).await
    })
    .await;
}

/// Runs the command line; gives exit code, stdout and stderr.
fn quorate(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(&*QUORATE)
        .args(args)
        .env_remove("QUORATE_TOKEN")
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8").trim().to_owned();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Gives the stdout of a command that must succeed.
fn done((code, out, err): &(Option<i32>, String, String)) -> String {
    assert_eq!(*code, Some(0), "{out}\n{err}");
    out.clone()
}

async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    (status, code.to_owned())
}
