//! Cluster of members on this machine.

use std::{sync::Arc, time::Duration};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    eventually::{NotYet, eventually},
    host::MemberHost,
    http,
    member::MemberProcess,
    netns::NamespaceNet,
};

/// How long anything that should take a second or two may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Whether the folders of tests are to outlive them.
pub fn keep() -> bool {
    std::env::var_os("KEEP_TEST_FOLDERS").is_some()
}

/// Members in one temporary folder; all end with it.
pub struct TestCluster {
    /// The members, in the order in which they were made.
    pub members: Vec<MemberProcess>,
    /// The promise.
    pub failover_ms: u64,
    extra: String,
    /// The folder. Last, so that the members are gone before it.
    pub root: TempDir,
}

impl TestCluster {
    /// Three voters with the default promise.
    pub async fn three() -> TestCluster {
        TestCluster::start(3, 500, "").await
    }

    /// `size` voters; `extra` is appended to each configuration.
    pub async fn start(size: usize, failover_ms: u64, extra: &str) -> TestCluster {
        TestCluster::prepare(size, failover_ms, extra).boot().await
    }

    /// One voter in each namespace of `net`.
    pub async fn start_in(net: &Arc<NamespaceNet>, failover_ms: u64, extra: &str) -> TestCluster {
        let cluster = TestCluster::prepare_in(net, failover_ms, extra);
        cluster.boot().await
    }

    /// As [`TestCluster::prepare`], with a member in each namespace of `net`.
    pub fn prepare_in(net: &Arc<NamespaceNet>, failover_ms: u64, extra: &str) -> TestCluster {
        TestCluster::prepare_at(Some(net), net.size(), failover_ms, extra)
    }

    /// Starts what was prepared, and waits until all are voters.
    pub async fn boot(mut self) -> TestCluster {
        let size = self.members.len();
        self.members[0].start(&["--bootstrap"]);
        self.voters(1).await;
        let join = self.members[0].admin_url("");
        for n in 1..size {
            self.members[n].start(&["--join", &join]);
        }
        self.voters(size).await;
        self
    }

    /// Folders and configurations only. With `KEEP_TEST_FOLDERS` set they outlive the test.
    pub fn prepare(size: usize, failover_ms: u64, extra: &str) -> TestCluster {
        TestCluster::prepare_at(None, size, failover_ms, extra)
    }

    fn prepare_at(
        net: Option<&Arc<NamespaceNet>>,
        size: usize,
        failover_ms: u64,
        extra: &str,
    ) -> TestCluster {
        let keep = keep();
        let mut builder = tempfile::Builder::new();
        let root = builder.disable_cleanup(keep).tempdir();
        let root = root.expect("a temporary folder");
        if keep {
            println!("kept: {}", root.path().display());
        }
        let members = (1..=size)
            .map(|n| {
                let host = net.map(|net| MemberHost::namespace(net, n - 1));
                MemberProcess::new(host.unwrap_or_default(), root.path(), n, failover_ms, extra)
            })
            .collect();
        TestCluster {
            members,
            failover_ms,
            extra: extra.to_owned(),
            root,
        }
    }

    /// One more folder and configuration; gives its index.
    pub fn add_member(&mut self) -> usize {
        let n = self.members.len() + 1;
        let member = MemberProcess::new(
            MemberHost::loopback(),
            self.root.path(),
            n,
            self.failover_ms,
            &self.extra,
        );
        self.members.push(member);
        n - 1
    }

    fn running(&self) -> impl Iterator<Item = &MemberProcess> {
        self.members.iter().filter(|m| m.running())
    }

    /// Waits until every running member sees `count` voters and one leader, and is ready.
    pub async fn voters(&self, count: usize) {
        for member in self.running() {
            let (what, admin) = (
                format!("{count} voters at {}", member.name),
                member.admin_url(""),
            );
            eventually(&what, SOON, || sees_voters(http::client(), &admin, count)).await;
        }
        self.leader().await;
    }

    /// The index of the leader on which all running members agree.
    pub async fn leader(&self) -> usize {
        self.leader_but(None).await
    }

    /// The same, waiting for another one than `old`.
    pub async fn leader_but(&self, old: Option<usize>) -> usize {
        eventually("one leader", SOON, || async {
            let mut seen: Option<String> = None;
            for member in self
                .running()
                .filter(|m| Some(m.name.as_str()) != old.map(|o| self.members[o].name.as_str()))
            {
                let answer = http::get_json(&member.admin_url("/v1/cluster/leader")).await?;
                let name = answer["leader"]["name"].as_str().unwrap_or("").to_owned();
                match &seen {
                    Some(other) if *other != name => {
                        let seen = format!("{} says {name}, another {other}", member.name);
                        return Err(NotYet::Seen(seen));
                    }
                    _ => seen = Some(name),
                }
            }
            let name = seen.ok_or_else(|| NotYet::Seen("nobody runs".into()))?;
            let index = self.members.iter().position(|m| m.name == name);
            match index {
                Some(index) if Some(index) != old => Ok(index),
                _ => Err(NotYet::Seen(format!("the leader is {name:?}"))),
            }
        })
        .await
    }

    /// The connector server's index and epoch, as `asked` sees them.
    pub async fn connector_server(&self, asked: usize) -> Result<(usize, u64), NotYet> {
        let url = self.members[asked].admin_url("/v1/cluster/leader");
        let answer = http::get_json(&url).await?;
        let server = &answer["connector_server"];
        let name = server["name"]
            .as_str()
            .ok_or_else(|| format!("none in {answer}"))?;
        let epoch = server["epoch"]
            .as_u64()
            .ok_or_else(|| format!("none in {answer}"))?;
        let index = self.members.iter().position(|m| m.name == name);
        Ok((index.ok_or_else(|| format!("unknown {name}"))?, epoch))
    }

    /// Waits until `asked` sees one: a new leader leads before it has taken over.
    pub async fn serving(&self, asked: usize) -> (usize, u64) {
        eventually("a connector server", SOON, || self.connector_server(asked)).await
    }

    /// A follower's index.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        let running = |n: &usize| *n != leader && self.members[*n].running();
        (0..self.members.len()).find(running).expect("a follower")
    }

    /// PUTs a resource at a member.
    pub async fn put(&self, at: usize, kind: &str, resource: Value) -> u64 {
        let name = resource["name"].as_str().expect("a name");
        let url = self.members[at].admin_url(&format!("/v1/config/{kind}/{name}"));
        http::put(&url, resource.to_string())
            .await
            .expect("a write")
    }

    /// One connector's status, asked of member `at`.
    pub async fn connector(&self, at: usize, name: &str) -> Result<Value, NotYet> {
        let url = self.members[at].admin_url("/v1/connectors");
        let answer = http::get_json(&url).await?;
        let list = answer["connectors"].as_array().cloned().unwrap_or_default();
        let found = list.into_iter().find(|c| c["name"] == name);
        Ok(found.ok_or_else(|| format!("no {name} in {answer}"))?)
    }

    /// Waits until a connector is in `state`; gives its status.
    pub async fn connector_in(&self, at: usize, name: &str, state: &str) -> Value {
        eventually(&format!("{name} {state}"), SOON, || async {
            let status = self.connector(at, name).await?;
            if status["state"] == state {
                return Ok(status);
            }
            Err(NotYet::Seen(status.to_string()))
        })
        .await
    }
}

/// Fails unless the member at this address sees so many voters and no others, and is ready.
pub async fn sees_voters(client: &Client, admin: &str, count: usize) -> Result<(), NotYet> {
    let answer = http::get_json_by(client, &format!("{admin}/v1/cluster/members")).await?;
    let list = answer["members"].as_array().cloned().unwrap_or_default();
    let voters = list.iter().filter(|m| m["role"] == "voter").count();
    if voters != count || list.len() != count {
        return Err(NotYet::Seen(answer.to_string()));
    }
    http::body_of(client.get(format!("{admin}/health/ready"))).await?;
    Ok(())
}
