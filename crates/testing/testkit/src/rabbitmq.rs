//! Real RabbitMQ on free ports, started and ended by the test.
//!
//! `rabbitmq-server` must be installed (Debian: `apt install rabbitmq-server`); the
//! system's own broker is not touched. Each has its own folder, its own epmd and its own
//! ports on the loopback; both processes end with the test process.

mod client;

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use lapin::{Connection, ConnectionProperties};
use quorate_clock::Instant;

use crate::{
    eventually, ports,
    process::{ChildProcess, bound, logged},
    scratch::ScratchFolder,
};

pub use client::BrokerClient;

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const NODE: &str = "test@localhost";

/// How long rabbitmqctl may take; it is a virtual machine of its own that starts and ends.
const CTL_WITHIN: Duration = Duration::from_secs(60);
/// It takes 5 s of two cores that nobody else wants.
const START: Duration = Duration::from_secs(180);

/// A broker.
pub struct RabbitBroker {
    address: Ipv4Addr,
    port: u16,
    dist_port: u16,
    epmd_port: u16,
    management: Option<u16>,
    tls: Option<u16>,
    // In this order: the broker, its epmd, their folder.
    server: Option<ChildProcess>,
    _epmd: ChildProcess,
    dir: ScratchFolder,
}

/// Starts a process of RabbitMQ's.
fn spawn(command: Command) -> ChildProcess {
    let started = ChildProcess::spawn(command);
    started.expect("can't start a process of RabbitMQ: is rabbitmq-server installed?")
}

/// Leaves a command only what it needs of the environment, and the broker's own epmd.
fn enclose(command: &mut Command, dir: &Path, epmd_port: u16) {
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", dir.join("home"))
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .current_dir(dir);
}

impl RabbitBroker {
    /// Starts one and waits until it takes connections.
    pub async fn start() -> RabbitBroker {
        RabbitBroker::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same on another address of this machine.
    pub async fn start_at(address: Ipv4Addr) -> RabbitBroker {
        RabbitBroker::start_with(address, false, None).await
    }

    /// The same with a port for TLS, with this certificate and its key in PEM.
    pub async fn start_tls(certificate: &str, key: &str) -> RabbitBroker {
        RabbitBroker::start_with(Ipv4Addr::LOCALHOST, false, Some([certificate, key])).await
    }

    /// The same with the management plugin.
    pub async fn start_managed(address: Ipv4Addr) -> RabbitBroker {
        let rabbit = RabbitBroker::start_with(address, true, None).await;
        let management = rabbit.management.unwrap();
        eventually::some("the management plugin", START, async || {
            TcpStream::connect((address, management)).ok()
        })
        .await;
        rabbit
    }

    async fn start_with(address: Ipv4Addr, managed: bool, tls: Option<[&str; 2]>) -> RabbitBroker {
        // A broker that lives as long as its process leaves its folder behind.
        let dir = ScratchFolder::make("quorate-rabbitmq-").unwrap();
        for folder in ["mnesia", "log", "home"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let [port, dist_port, epmd_port, management, tls_port] = [(); 5].map(|()| ports::free());
        let plugins = if managed {
            "[rabbitmq_management].\n"
        } else {
            "[].\n"
        };
        fs::write(dir.path().join("plugins"), plugins).unwrap();
        // Its user guest may come from elsewhere than the loopback.
        let mut config = "loopback_users = none\n".to_owned();
        if managed {
            // It learns of new connections this often; 5000 by default.
            config += &format!(
                "management.tcp.ip = {address}\nmanagement.tcp.port = {management}\n\
                 collect_statistics_interval = 1000\n"
            );
        }
        if let Some(pair) = tls {
            let paths = ["certificate.pem", "key.pem"].map(|name| dir.path().join(name));
            for (path, pem) in paths.iter().zip(pair) {
                fs::write(path, pem).unwrap();
            }
            let [certificate, key] = paths.map(|path| path.display().to_string());
            config += &format!(
                "listeners.ssl.default = {address}:{tls_port}\n\
                 ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
                 ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"
            );
        }
        fs::write(dir.path().join("rabbitmq.conf"), config).unwrap();
        let mut epmd = bound("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()]);
        let mut rabbit = RabbitBroker {
            address,
            port,
            dist_port,
            epmd_port,
            management: managed.then_some(management),
            tls: tls.map(|_| tls_port),
            server: None,
            _epmd: spawn(epmd),
            dir,
        };
        rabbit.up().await;
        rabbit
    }

    /// The address on which it takes connections.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where it takes connections.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(ChildProcess::pid)
    }

    /// Where its management API answers, if it was started with it.
    pub fn management_url(&self) -> Option<String> {
        let port = self.management?;
        Some(format!("http://{}:{port}", self.address))
    }

    /// Where it takes connections with TLS, if it was started so.
    pub fn tls_port(&self) -> u16 {
        self.tls.unwrap()
    }

    /// Runs rabbitmqctl. Once its end was never told of, with the process gone and nothing done
    /// by the broker; so there is a second try. What it is used for can be done twice.
    pub async fn ctl(&self, arguments: &[&str]) {
        for _ in 0..2 {
            let mut command = Command::new(CTL);
            command.args(["--quiet", "--node", NODE]).args(arguments);
            enclose(&mut command, self.dir.path(), self.epmd_port);
            let mut command = tokio::process::Command::from(command);
            command.kill_on_drop(true);
            let Ok(said) = tokio::time::timeout(CTL_WITHIN, command.output()).await else {
                println!("rabbitmqctl {arguments:?} did not end within {CTL_WITHIN:?}");
                continue;
            };
            let said = said.unwrap();
            assert!(said.status.success(), "{arguments:?}: {said:?}");
            return;
        }
        panic!("rabbitmqctl {arguments:?} did not end, twice");
    }

    /// Starts it again, with what it had stored.
    pub async fn up(&mut self) {
        assert!(self.server.is_none(), "it is up already");
        let dir = self.dir.path();
        let mut command = bound(SERVER);
        enclose(&mut command, dir, self.epmd_port);
        command
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", self.address.to_string())
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_PID_FILE", dir.join("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("ERL_CRASH_DUMP_BYTES", "0")
            // Without a shell in between, which would not pass on the kill.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            // It shares the machine with what is tested.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            );
        logged(&mut command, &dir.join("out")).unwrap();
        self.server = Some(spawn(command));
        let deadline = Instant::now() + START;
        while Connection::connect(&self.uri(), ConnectionProperties::default())
            .await
            .is_err()
        {
            let ended = self.server.as_mut().unwrap().status();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "RabbitMQ did not start ({ended:?}):\n{}",
                fs::read_to_string(dir.join("out")).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops it in order, as a restart of its service does.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let ended = server.stop_within(START);
            assert!(
                ended.is_some(),
                "RabbitMQ did not stop in order within {START:?}"
            );
        }
    }

    /// Kills it. What is durable stays; of the acks, those that it had written.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// For lapin.
    pub fn uri(&self) -> String {
        format!(
            "amqp://guest:guest@{}:{}/%2f?heartbeat=10",
            self.address, self.port
        )
    }

    /// A connection to look at it with.
    pub async fn client(&self) -> BrokerClient {
        BrokerClient::connect(&self.uri()).await
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
