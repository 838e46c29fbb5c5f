//! A real RabbitMQ on free ports, started and ended by the test.
//!
//! `rabbitmq-server` must be installed (Debian: `apt install rabbitmq-server`); the
//! system's own broker is not touched. Each has its own folder, its own epmd and its own
//! ports on the loopback; both processes end with the test process.
#![allow(dead_code)]

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use quorate_clock::{Instant, rng};
use rand::Rng;
use tempfile::TempDir;

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const NODE: &str = "test@localhost";

/// How long rabbitmqctl may take; it is a virtual machine of its own that starts and ends.
const CTL_WITHIN: Duration = Duration::from_secs(60);
/// It takes 5 s of two cores that nobody else wants.
const START: Duration = Duration::from_secs(180);

/// A broker.
pub struct Rabbit {
    dir: TempDir,
    address: Ipv4Addr,
    port: u16,
    dist_port: u16,
    epmd_port: u16,
    management: Option<u16>,
    tls: Option<u16>,
    epmd: Child,
    server: Option<Child>,
}

/// Ports nobody listens on now, below those that the kernel gives to outgoing connections:
/// a broker binds its ports seconds after they were chosen.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let mut held: Vec<TcpListener> = Vec::new();
    while held.len() < N {
        let port = rng().random_range(20_000..32_000);
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    let mut ports = held
        .iter()
        .map(|listener| listener.local_addr().unwrap().port());
    std::array::from_fn(|_| ports.next().unwrap())
}

/// Starts a process that the kernel kills when this one ends. The thread that starts it
/// has to live as long, so it is one that never ends.
fn spawn(mut command: Command) -> Child {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        sender.send(command.spawn()).unwrap();
        loop {
            std::thread::park();
        }
    });
    receiver
        .recv()
        .unwrap()
        .expect("can't start a process of RabbitMQ: is rabbitmq-server installed?")
}

fn bound_to_this_process(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// A folder named after this process. A broker that lives as long as its process leaves
/// its folder behind: those of processes that are gone are removed here.
fn folder() -> TempDir {
    const PREFIX: &str = "quorate-rabbitmq-";
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, _)) = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir()
        .unwrap()
}

impl Rabbit {
    /// Starts one and waits until it takes connections.
    pub async fn start() -> Rabbit {
        Rabbit::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same on another address of this machine.
    pub async fn start_at(address: Ipv4Addr) -> Rabbit {
        Rabbit::start_with(address, false, None).await
    }

    /// The same with a port for TLS, with this certificate and its key in PEM.
    pub async fn start_tls(certificate: &str, key: &str) -> Rabbit {
        Rabbit::start_with(Ipv4Addr::LOCALHOST, false, Some([certificate, key])).await
    }

    /// The same with the management plugin.
    pub async fn start_managed(address: Ipv4Addr) -> Rabbit {
        let rabbit = Rabbit::start_with(address, true, None).await;
        let deadline = Instant::now() + START;
        while std::net::TcpStream::connect((address, rabbit.management.unwrap())).is_err() {
            assert!(
                Instant::now() < deadline,
                "the management plugin did not start"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        rabbit
    }

    async fn start_with(address: Ipv4Addr, managed: bool, tls: Option<[&str; 2]>) -> Rabbit {
        let dir = folder();
        for folder in ["mnesia", "log", "home"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let [port, dist_port, epmd_port, management, tls_port] = free_ports();
        let plugins = if managed {
            "[rabbitmq_management].\n"
        } else {
            "[].\n"
        };
        std::fs::write(dir.path().join("plugins"), plugins).unwrap();
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
                std::fs::write(path, pem).unwrap();
            }
            let [certificate, key] = paths.map(|path| path.display().to_string());
            config += &format!(
                "listeners.ssl.default = {address}:{tls_port}\n\
                 ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
                 ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"
            );
        }
        std::fs::write(dir.path().join("rabbitmq.conf"), config).unwrap();
        let mut epmd = bound_to_this_process("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()]);
        let epmd = spawn(epmd);
        let mut rabbit = Rabbit {
            dir,
            address,
            port,
            dist_port,
            epmd_port,
            management: managed.then_some(management),
            tls: tls.map(|_| tls_port),
            epmd,
            server: None,
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
        self.server.as_ref().map(Child::id)
    }

    /// Where its management face answers, if it was started with it.
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
            let mut command = tokio::process::Command::new(CTL);
            let dir = self.dir.path();
            command
                .args(["--quiet", "--node", NODE])
                .args(arguments)
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", dir.join("home"))
                .env("ERL_EPMD_PORT", self.epmd_port.to_string())
                .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
                .current_dir(dir)
                .kill_on_drop(true);
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
        let log = std::fs::File::create(dir.join("out")).unwrap();
        let mut command = bound_to_this_process(SERVER);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", dir.join("home"))
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
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
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("ERL_CRASH_DUMP_BYTES", "0")
            .current_dir(dir)
            // Without a shell in between, which would not pass on the kill.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            // It shares the machine with what is tested.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.server = Some(spawn(command));
        let deadline = Instant::now() + START;
        while Connection::connect(&self.uri(), ConnectionProperties::default())
            .await
            .is_err()
        {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "RabbitMQ did not start ({ended:?}):\n{}",
                std::fs::read_to_string(dir.join("out")).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops it in order, as a restart of its service does.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = server.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &pid]).status();
            let _ = server.wait();
        }
    }

    /// Kills it. What is durable stays; of the acks, those that it had written.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// For lapin.
    pub fn uri(&self) -> String {
        format!(
            "amqp://guest:guest@{}:{}/%2f?heartbeat=10",
            self.address, self.port
        )
    }

    /// A connection to look at it with.
    pub async fn client(&self) -> Client {
        Client::connect(&self.uri()).await
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.kill();
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
    }
}

/// Declares, publishes, counts.
pub struct Client {
    connection: Connection,
    channel: Channel,
}

impl Client {
    /// Connects.
    pub async fn connect(uri: &str) -> Client {
        let connection = Connection::connect(uri, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        Client {
            connection,
            channel,
        }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Declares a durable queue.
    pub async fn declare(&self, queue: &str) {
        self.declare_with(queue, &[]).await;
    }

    /// Declares a durable queue with arguments (`x-dead-letter-exchange` and the like).
    pub async fn declare_with(&self, queue: &str, arguments: &[(&str, &str)]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        self.channel
            .queue_declare(queue.into(), QueueDeclareOptions::durable(), table)
            .await
            .unwrap();
    }

    /// Publishes persistent messages with these bodies; returns when the broker has them.
    pub async fn publish(&self, queue: &str, bodies: impl IntoIterator<Item = String>) {
        self.publish_with(queue, bodies, BasicProperties::default())
            .await;
    }

    /// Publishes one; whether a queue took it.
    pub async fn try_publish(&self, queue: &str, body: &str) -> bool {
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let confirm = self.channel.basic_publish(
            "".into(),
            queue.into(),
            options,
            body.as_bytes(),
            properties,
        );
        confirm.await.unwrap().await.unwrap() == Confirmation::Ack(None)
    }

    /// As `publish`, with these properties.
    pub async fn publish_with(
        &self,
        queue: &str,
        bodies: impl IntoIterator<Item = String>,
        properties: BasicProperties,
    ) {
        let properties = properties.with_delivery_mode(2);
        let mut confirms = Vec::new();
        for body in bodies {
            let options = BasicPublishOptions {
                mandatory: true,
                immediate: false,
            };
            let properties = properties.clone();
            let confirm = self.channel.basic_publish(
                "".into(),
                queue.into(),
                options,
                body.as_bytes(),
                properties,
            );
            confirms.push(confirm.await.unwrap());
        }
        for confirm in confirms {
            assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None));
        }
    }

    /// Messages that are ready, and consumers.
    pub async fn count(&self, queue: &str) -> (u32, u32) {
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let queue = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await
            .unwrap();
        (queue.message_count(), queue.consumer_count())
    }

    /// Takes one message out.
    pub async fn take(&self, queue: &str) -> Option<BasicGetMessage> {
        let message = self
            .channel
            .basic_get(queue.into(), BasicGetOptions::default())
            .await
            .unwrap()?;
        message.acker.ack(BasicAckOptions::default()).await.unwrap();
        Some(message)
    }

    /// Deletes a queue.
    pub async fn delete(&self, queue: &str) {
        self.channel
            .queue_delete(queue.into(), Default::default())
            .await
            .unwrap();
    }
}
