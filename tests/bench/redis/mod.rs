//! Three Redis servers with a Sentinel beside each.

pub mod resp;

use std::{fs, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tempfile::TempDir;

use crate::{
    hosts::{Hosts, SIZE},
    peer::Peer,
    process::{Process, free_address},
    trial::eventually,
    writes::{Door, Writer},
};
use resp::Redis;

const GROUP: &str = "bench";
/// A master that just came back is made a replica by Sentinel only after some seconds.
const JOIN: Duration = Duration::from_secs(10);

/// Servers and Sentinels.
pub struct Sentinels {
    servers: Vec<Process>,
    addresses: Vec<String>,
    sentinels: Vec<String>,
    _processes: Vec<Process>,
    _root: TempDir,
}

impl Sentinels {
    /// Starts the Sentinels; they wait for their servers. `down_after` in ms.
    pub fn new(hosts: &Hosts, down_after: u64) -> Sentinels {
        let root = tempfile::tempdir().expect("a folder");
        let addresses: Vec<_> = (0..SIZE).map(|n| free_address(hosts, n)).collect();
        let sentinels: Vec<_> = (0..SIZE).map(|n| free_address(hosts, n)).collect();
        let servers = (0..SIZE).map(|n| {
            let dir = root.path().join(format!("redis-{n}"));
            let master = (n > 0).then(|| addresses[0].replace(':', " "));
            let replica = master.map_or(String::new(), |master| format!("replicaof {master}\n"));
            // Nothing on disk, and a replica that comes back is told so at once.
            let more = format!("save \"\"\nrepl-diskless-sync-delay 0\n{replica}");
            let program = configured(&dir, "redis-server", &addresses[n], &more);
            Process::new(hosts, n, dir, program)
        });
        let servers = servers.collect();
        let mut processes: Vec<_> = (0..SIZE)
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
                Process::new(hosts, n, dir, program)
            })
            .collect();
        for process in &mut processes {
            process.start();
        }
        Sentinels {
            servers,
            addresses,
            sentinels,
            _processes: processes,
            _root: root,
        }
    }

    async fn follow(&self, host: usize) -> Result<(), String> {
        let masters = self.roles(Some(host)).await?;
        let Some(master) = (0..SIZE).find(|n| masters[*n].as_deref() == Some("master")) else {
            return Err(format!("no master among {masters:?}"));
        };
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
    fn servers(&mut self) -> &mut [Process] {
        &mut self.servers
    }

    /// Every Sentinel knows the others, both replicas and the same master, which agrees.
    async fn leader(&self) -> Result<usize, String> {
        let roles = self.roles(None).await?;
        let masters: Vec<_> = (0..SIZE)
            .filter(|n| roles[*n].as_deref() == Some("master"))
            .collect();
        let [master] = masters[..] else {
            return Err(format!("{roles:?}"));
        };
        let replication = info(&self.addresses[master], "replication").await?;
        let in_step = replication
            .lines()
            .filter(|line| line.contains("state=online"))
            .count();
        if in_step != SIZE - 1 {
            return Err(replication);
        }
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

    async fn rejoin(&mut self, host: usize) -> Result<(), String> {
        self.servers[host].start();
        self.returned(host).await
    }

    async fn returned(&mut self, host: usize) -> Result<(), String> {
        eventually("a replica again", JOIN, || self.follow(host)).await
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
