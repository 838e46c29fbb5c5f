//! Three etcd servers, written to over the JSON form of their v3 API.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    hosts::{Hosts, SIZE},
    peer::Peer,
    process::{ServerProcess, free_address},
    writes::{Door, Writer},
};

/// The servers.
pub struct Etcd {
    servers: Vec<ServerProcess>,
    urls: Vec<String>,
    client: Client,
    // Last, so that the servers are gone before their folder.
    _root: TempDir,
}

impl Etcd {
    /// With this heartbeat interval and election timeout, in ms; starts nothing yet.
    pub fn new(hosts: &Hosts, heartbeat: u64, election: u64) -> Etcd {
        let root = tempfile::tempdir().expect("a folder");
        let clients: Vec<_> = (0..SIZE)
            .map(|n| format!("http://{}", free_address(hosts, n)))
            .collect();
        let peers: Vec<_> = (0..SIZE)
            .map(|n| format!("http://{}", free_address(hosts, n)))
            .collect();
        let cluster: Vec<_> = peers
            .iter()
            .enumerate()
            .map(|(n, url)| format!("m{n}={url}"))
            .collect();
        let servers = (0..SIZE).map(|n| {
            let dir = root.path().join(format!("m{n}"));
            let flags = [
                ("name", format!("m{n}")),
                ("data-dir", dir.join("data").display().to_string()),
                ("listen-client-urls", clients[n].clone()),
                ("advertise-client-urls", clients[n].clone()),
                ("listen-peer-urls", peers[n].clone()),
                ("initial-advertise-peer-urls", peers[n].clone()),
                ("initial-cluster", cluster.join(",")),
                ("initial-cluster-state", "new".into()),
                ("heartbeat-interval", heartbeat.to_string()),
                ("election-timeout", election.to_string()),
                ("logger", "zap".into()),
                ("log-level", "error".into()),
            ];
            let flags = flags
                .into_iter()
                .map(|(name, value)| format!("--{name}={value}"));
            ServerProcess::new(
                hosts,
                n,
                dir.clone(),
                std::iter::once("etcd".to_owned()).chain(flags).collect(),
            )
        });
        Etcd {
            servers: servers.collect(),
            urls: clients.clone(),
            client: client(),
            _root: root,
        }
    }
}

/// Its connections are kept; one that hangs is given up by who waits for it.
pub fn client() -> Client {
    quorate_testkit::http::client();
    Client::builder().build().expect("a client")
}

/// One call of the v3 API.
pub async fn call(client: &Client, url: &str, path: &str, body: &Value) -> Result<Value, String> {
    let request = client
        .post(format!("{url}/v3/{path}"))
        .body(body.to_string());
    let response = request.send().await.map_err(|e| format!("{e:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|e| e.to_string())?;
    match status.is_success() {
        // A stream answers with one document a line.
        true => serde_json::from_str(text.lines().next().unwrap_or(""))
            .map_err(|e| format!("{e}: {text}")),
        false => Err(format!("{path}: {status} {text}")),
    }
}

/// A number of 64 bits, which JSON carries as a string.
pub fn number(value: &Value) -> Result<u64, String> {
    let text = value
        .as_str()
        .ok_or_else(|| format!("{value} is no number"))?;
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}

#[async_trait]
impl Peer for Etcd {
    fn servers(&mut self) -> &mut [ServerProcess] {
        &mut self.servers
    }

    async fn leader(&self) -> Result<usize, String> {
        let mut members = Vec::new();
        let nothing = json!({});
        for url in &self.urls {
            let status = call(&self.client, url, "maintenance/status", &nothing);
            let status = tokio::time::timeout(Duration::from_secs(1), status).await;
            let status = status.map_err(|_| format!("{url} is silent"))??;
            let id = number(&status["header"]["member_id"])?;
            members.push((
                id,
                number(&status["leader"])?,
                number(&status["raftAppliedIndex"])?,
            ));
        }
        let leader = members[0].1;
        let ahead = members.iter().map(|m| m.2).max().unwrap_or(0);
        if members.iter().any(|m| m.1 != leader || m.2 + 20 < ahead) {
            return Err(format!("id, leader, applied: {members:?}"));
        }
        let found = members.iter().position(|m| m.0 == leader);
        found.ok_or_else(|| format!("no leader in {members:?}"))
    }

    fn address(&self, host: usize) -> String {
        self.urls[host].clone()
    }

    fn door(&self, host: usize) -> Door {
        let (client, url) = (self.client.clone(), self.urls[host].clone());
        Arc::new(move || {
            Box::new(Put {
                client: client.clone(),
                url: url.clone(),
            })
        })
    }
}

struct Put {
    client: Client,
    url: String,
}

#[async_trait]
impl Writer for Put {
    async fn write(&mut self) -> Result<u64, String> {
        let text = |text: &str| BASE64_STANDARD.encode(text);
        let body = json!({"key": text("bench"), "value": text("x")});
        let answer = call(&self.client, &self.url, "kv/put", &body).await?;
        number(&answer["header"]["raft_term"])
    }
}
