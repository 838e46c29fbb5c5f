//! Three Redis servers with a Sentinel beside each.

pub mod resp;

use std::{fs, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use quorate_testkit::eventually::within;
use tempfile::TempDir;

use crate::{
    hosts::{Hosts, SIZE},
    peer::Peer,
    process::{ServerProcess, free_address},
    writes::{Door, Writer},
};
use resp::Redis;

const GROUP: &str = "bench";
/// A master that just came back is made a replica by Sentinel only after some seconds.
const JOIN: Duration = Duration::from_secs(10);

/// Servers and Sentinels.
pub struct Sentinels {
    servers: Vec<ServerProcess>,
    addresses: Vec<String>,
    sentinels: Vec<String>,
    watchers: Vec<ServerProcess>,
    root: TempDir,
}

impl Sentinels {
    /// With `down-after-milliseconds`; starts nothing yet.
    pub fn new(hosts: &Hosts, down_after: u64) -> Sentinels {
        let root = tempfile::tempdir().expect("a folder");
        let addresses: Vec<_> = (0..SIZE).map(|n| free_address(hosts, n)).collect();
        let sentinels: Vec<_> = (0..SIZE).map(|n| free_address(hosts, n)).collect();
        let servers = (0..SIZE).map(|n| {
            let dir = root.path().join(format!("redis-{n}"));
            let program = server(&dir, &addresses[n], (n > 0).then_some(&addresses[0]));
            ServerProcess::new(hosts, n, dir, program)
        });
        let servers = servers.collect();
        let watchers = (0..SIZE)
            .map(|n| {
                let dir = root.path().join(format!("sentinel-{n}"));
                let master = addresses[0].replace(':', " ");
                let timeout = (down_after * 5).min(180_000);
                let more = format!(
                    "sentinel monitor {GROUP} {master} 2\n\
                     sentinel down-after-milliseconds {GROUP} {down_after}\n\
                     sentinel failover-timeout {GROUP} {timeout}\n"
                );
                let program = configured(&dir, "redis-sentinel", &sentinels[n], &more);
                ServerProcess::new(hosts, n, dir, program)
            })
            .collect();
        Sentinels {
            servers,
            addresses,
            sentinels,
            watchers,
            root,
        }
    }

    /// The master's host, unless `but` is its, of those that answer.
    async fn master(&self, but: Option<usize>) -> Result<usize, String> {
        let roles = self.roles(but).await?;
        let is_master = |n: &usize| roles[*n].as_deref() == Some("master");
        let masters: Vec<_> = (0..SIZE).filter(is_master).collect();
        match masters[..] {
            [master] => Ok(master),
            _ => Err(format!("{roles:?}")),
        }
    }

    /// The master's host, once both others follow it.
    async fn in_step(&self) -> Result<usize, String> {
        let master = self.master(None).await?;
        let replication = info(&self.addresses[master], "replication").await?;
        let online = replication
            .lines()
            .filter(|line| line.contains("state=online"));
        match online.count() == SIZE - 1 {
            true => Ok(master),
            false => Err(replication),
        }
    }

    async fn follow(&self, host: usize) -> Result<(), String> {
        let master = self.master(Some(host)).await?;
        let (address, port) = self.addresses[master].split_once(':').expect("a port");
        let mut redis = Redis::connect(&self.addresses[host]).await?;
        redis.call(&["REPLICAOF", address, port]).await.map(drop)
    }

    async fn roles(&self, but: Option<usize>) -> Result<Vec<Option<String>>, String> {
        let mut roles = Vec::new();
        for (n, address) in self.addresses.iter().enumerate() {
            roles.push(match but == Some(n) {
                true => None,
                false => Some(field(&info(address, "replication").await?, "role")?),
            });
        }
        Ok(roles)
    }
}

/// Nothing on disk, and a replica that comes back is served at once.
fn server(dir: &Path, address: &str, master: Option<&String>) -> Vec<String> {
    let replica = master.map(|master| format!("replicaof {}\n", master.replace(':', " ")));
    let replica = replica.unwrap_or_default();
    let more = format!("save \"\"\nrepl-diskless-sync-delay 0\n{replica}");
    configured(dir, "redis-server", address, &more)
}

fn configured(dir: &Path, program: &str, address: &str, more: &str) -> Vec<String> {
    fs::create_dir_all(dir).expect("its folder");
    let (ip, port) = address.split_once(':').expect("a port");
    let config = format!(
        "bind {ip}\nport {port}\nprotected-mode no\ndir {}\n{more}",
        dir.display()
    );
    fs::write(dir.join("conf"), config).expect("its configuration");
    vec![program.to_owned(), "conf".to_owned()]
}

async fn info(address: &str, section: &str) -> Result<String, String> {
    let asked = async {
        let mut redis = Redis::connect(address).await?;
        redis
            .call(&["INFO", section])
            .await?
            .ok_or("no information".to_owned())
    };
    let told = tokio::time::timeout(Duration::from_secs(1), asked).await;
    told.map_err(|_| format!("{address} is silent"))?
}

fn field(info: &str, name: &str) -> Result<String, String> {
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| format!("no {name} in {info:?}"))
}

#[async_trait]
impl Peer for Sentinels {
    fn servers(&mut self) -> &mut [ServerProcess] {
        &mut self.servers
    }

    /// Every Sentinel knows the others, both replicas and the same master, which agrees.
    async fn leader(&self) -> Result<usize, String> {
        let master = self.in_step().await?;
        let known = format!(
            "status=ok,address={},slaves={},sentinels={SIZE}",
            self.addresses[master],
            SIZE - 1
        );
        for sentinel in &self.sentinels {
            let told = info(sentinel, "sentinel").await?;
            if !told.contains(&known) {
                return Err(format!("{told}, not {known}"));
            }
        }
        Ok(master)
    }

    /// A Sentinel that finds no replicas when it first looks looks again after 10 s.
    async fn begun(&mut self) -> Result<(), String> {
        within("replicas", JOIN, || self.in_step()).await?;
        self.watchers.iter_mut().for_each(ServerProcess::start);
        Ok(())
    }

    async fn rejoin(&mut self, host: usize) -> Result<(), String> {
        let master = within("a master", JOIN, || self.master(Some(host))).await?;
        let dir = self.root.path().join(format!("redis-{host}"));
        server(&dir, &self.addresses[host], Some(&self.addresses[master]));
        self.servers[host].start();
        Ok(())
    }

    async fn returned(&mut self, host: usize) -> Result<(), String> {
        Ok(within("a replica again", JOIN, || self.follow(host)).await?)
    }

    fn address(&self, host: usize) -> String {
        self.addresses[host].clone()
    }

    fn door(&self, host: usize) -> Door {
        let address = self.addresses[host].clone();
        Arc::new(move || {
            Box::new(Set {
                address: address.clone(),
                redis: None,
            })
        })
    }

    fn forwards(&self) -> bool {
        false
    }
}

struct Set {
    address: String,
    redis: Option<Redis>,
}

#[async_trait]
impl Writer for Set {
    async fn write(&mut self) -> Result<u64, String> {
        let redis = match &mut self.redis {
            Some(redis) => redis,
            None => self.redis.insert(Redis::connect(&self.address).await?),
        };
        // Refused with READONLY until this server is the master.
        redis.call(&["SET", "bench", "x"]).await?;
        Ok(1)
    }
}
