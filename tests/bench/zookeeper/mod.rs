//! Three ZooKeeper servers, from Debian's package.

pub mod wire;

use std::{fs, sync::Arc, time::Duration};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    hosts::{Hosts, SIZE},
    peer::Peer,
    process::{ServerProcess, free_address},
    writes::{Door, Writer},
};
use wire::{NO_NODE, NODE_EXISTS, Session};

const JAR: &str = "/usr/share/java/zookeeper.jar";
const NODE: &str = "/bench";

/// The servers.
pub struct ZooKeeper {
    servers: Vec<ServerProcess>,
    addresses: Vec<String>,
    _root: TempDir,
}

impl ZooKeeper {
    /// With this tickTime in ms, and the package's initLimit and syncLimit; starts nothing
    /// yet.
    pub fn new(hosts: &Hosts, tick: u64) -> ZooKeeper {
        let root = tempfile::tempdir().expect("a folder");
        let addresses: Vec<_> = (0..SIZE).map(|n| free_address(hosts, n)).collect();
        let mut cluster = String::new();
        for n in 0..SIZE {
            let quorum = free_address(hosts, n);
            let election = free_address(hosts, n);
            let port = election.rsplit(':').next().expect("a port").to_owned();
            cluster += &format!("server.{}={quorum}:{port}\n", n + 1);
        }
        let servers = (0..SIZE).map(|n| {
            let dir = root.path().join(format!("m{n}"));
            let data = dir.join("data");
            fs::create_dir_all(&data).expect("its folder");
            fs::write(data.join("myid"), format!("{}\n", n + 1)).expect("its id");
            let (address, port) = addresses[n].split_once(':').expect("a port");
            let config = format!(
                "tickTime={tick}\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={port}\n\
                 clientPortAddress={address}\nmaxClientCnxns=0\nadmin.enableServer=false\n\
                 4lw.commands.whitelist=srvr\n{cluster}",
                data.display()
            );
            fs::write(dir.join("zoo.cfg"), config).expect("its configuration");
            let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
            let program = ["java", "-Xmx256m", "-cp", JAR, main, "zoo.cfg"];
            ServerProcess::new(hosts, n, dir, program.map(str::to_owned).to_vec())
        });
        ZooKeeper {
            servers: servers.collect(),
            addresses: addresses.clone(),
            _root: root,
        }
    }
}

/// What a server says that it is; nothing until it serves.
async fn mode(address: &str) -> Result<String, String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"srvr").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map(|_| text)
    };
    let text = tokio::time::timeout(Duration::from_secs(1), asked).await;
    let text = text
        .map_err(|_| format!("{address} is silent"))?
        .map_err(|e| format!("{address}: {e}"))?;
    let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "));
    mode.map(str::to_owned)
        .ok_or_else(|| format!("{address}: {text:?}"))
}

#[async_trait]
impl Peer for ZooKeeper {
    fn servers(&mut self) -> &mut [ServerProcess] {
        &mut self.servers
    }

    async fn leader(&self) -> Result<usize, String> {
        let mut modes = Vec::new();
        for address in &self.addresses {
            modes.push(mode(address).await?);
        }
        let leaders: Vec<_> = (0..SIZE).filter(|n| modes[*n] == "leader").collect();
        match leaders[..] {
            [leader] => {
                // It takes connections a little before it takes writes.
                let mut session =
                    Session::open(&self.addresses[leader], Duration::from_secs(4)).await?;
                session.create(NODE).await?.ok(NODE_EXISTS)?;
                session.close().await?;
                Ok(leader)
            }
            _ => Err(format!("{modes:?}")),
        }
    }

    fn address(&self, host: usize) -> String {
        self.addresses[host].clone()
    }

    fn door(&self, host: usize) -> Door {
        let address = self.addresses[host].clone();
        Arc::new(move || {
            Box::new(Set {
                address: address.clone(),
                session: None,
            })
        })
    }
}

struct Set {
    address: String,
    session: Option<Session>,
}

#[async_trait]
impl Writer for Set {
    async fn write(&mut self) -> Result<u64, String> {
        let session = match &mut self.session {
            Some(session) => session,
            None => self
                .session
                .insert(Session::open(&self.address, Duration::from_secs(4)).await?),
        };
        let reply = session.set(NODE, b"x").await?.ok(NO_NODE)?;
        // The upper half of a transaction's number is the leader's epoch.
        Ok(reply.zxid >> 32)
    }
}
