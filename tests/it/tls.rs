//! Members, commands and the balancer behind TLS, as a person without a PKI sets them up.

mod beyond_loopback;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::{NotYet, eventually},
    ports,
    process::{ChildProcess, bound},
    programs::QUORATE,
};
use quorate_tls::{ExpectedServer, ReloadedClient, TrustFile};
use serde_json::Value;
use tempfile::TempDir;

/// Certificates of one cluster, made by the commands that a person would use.
struct Certificates {
    dir: TempDir,
}

impl Certificates {
    fn new(domain: &str) -> Certificates {
        let certificates = Certificates {
            dir: TempDir::new().unwrap(),
        };
        let out = certificates.dir.path().to_str().unwrap();
        run(&["cert", "create-ca", "--out", out, "--domain", domain]);
        certificates.issue("--client", "ann");
        certificates
    }

    fn issue(&self, kind: &str, name: &str) {
        let dir = self.dir.path().to_str().unwrap();
        run(&["cert", "issue", "--ca", dir, "--out", dir, kind, name]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The lines of a member's settings.
    fn settings(&self, name: &str) -> String {
        let quoted = |file: String| format!("{:?}", self.path(&file));
        format!(
            "tls.ca = {}\ntls.cert = {}\ntls.key = {}\n",
            quoted("ca.pem".into()),
            quoted(format!("{name}.pem")),
            quoted(format!("{name}.key"))
        )
    }
}

fn run(args: &[&str]) -> Output {
    let output = Command::new(&*QUORATE).args(args).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {told}");
    output
}

/// Appends lines to a member's settings.
fn add(config: &Path, lines: &str) {
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, format!("{text}{lines}")).unwrap();
}

/// A cluster whose members have certificates.
struct TlsCluster {
    cluster: TestCluster,
    certificates: Certificates,
}

impl TlsCluster {
    fn prepare(cluster: TestCluster) -> TlsCluster {
        let certificates = Certificates::new("shop");
        for member in &cluster.members {
            certificates.issue("--name", &member.name);
            add(&member.config(), &certificates.settings(&member.name));
        }
        TlsCluster {
            cluster,
            certificates,
        }
    }

    async fn start(size: usize) -> TlsCluster {
        let cluster = TestCluster::prepare(size, 500, "");
        TlsCluster::prepare(cluster).boot().await
    }

    async fn boot(mut self) -> TlsCluster {
        let size = self.cluster.members.len();
        self.cluster.members[0].start(&["--bootstrap"]);
        self.voters(1).await;
        let join = self.url(0);
        for n in 1..size {
            self.cluster.members[n].start(&["--join", &join]);
        }
        self.voters(size).await;
        self
    }

    fn url(&self, n: usize) -> String {
        let member = &self.cluster.members[n];
        format!("https://{}:{}", member.ip, member.admin)
    }

    /// Runs a command as ann.
    fn ask(&self, n: usize, args: &[&str]) -> Output {
        self.command(n, args).output().unwrap()
    }

    fn command(&self, n: usize, args: &[&str]) -> Command {
        let mut command = bound(&*QUORATE);
        command
            .args(args)
            .env("QUORATE_ADMIN", self.url(n))
            .env("QUORATE_CA", self.certificates.path("ca.pem"))
            .env("QUORATE_CERT", self.certificates.path("ann.pem"))
            .env("QUORATE_KEY", self.certificates.path("ann.key"));
        command
    }

    fn json(&self, n: usize, args: &[&str]) -> Result<Value, NotYet> {
        let mut args = args.to_vec();
        args.extend(["--output", "json"]);
        let output = self.ask(n, &args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(NotYet::Seen(told));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| NotYet::Seen(format!("{e}: {told}")))
    }

    async fn voters(&self, count: usize) {
        eventually("all are voters and alive", SOON, || async {
            for n in 0..count {
                let answer = self.json(n, &["members"])?;
                let list = answer["members"].as_array().cloned().unwrap_or_default();
                let is_good = |m: &&Value| m["role"] == "voter" && m["state"] == "alive";
                if list.iter().filter(is_good).count() != count {
                    return Err(NotYet::Seen(answer.to_string()));
                }
            }
            Ok(())
        })
        .await;
    }

    fn term(&self) -> Value {
        self.json(0, &["leader"]).unwrap()["term"].clone()
    }
}

/// A client of the test's own that trusts this authority and shows no certificate.
fn stranger(certificates: &Certificates) -> reqwest::Client {
    let roots = TrustFile(certificates.path("ca.pem")).load().unwrap();
    let client = ReloadedClient::new(&roots, None, ExpectedServer::Host).unwrap();
    reqwest::Client::builder()
        .tls_backend_preconfigured(client.config())
        .build()
        .unwrap()
}

// Tests 7 and 8 in part: members and commands by the name in the cluster, a stranger by address.
// guarantee: SECURITY-10
#[tokio::test(flavor = "multi_thread")]
async fn cluster_behind_tls_serves_whom_it_knows() {
    let it = TlsCluster::start(3).await;
    let put = it.ask(1, &["kv", "put", "a", "b"]);
    assert!(
        put.status.success(),
        "{}",
        String::from_utf8_lossy(&put.stderr)
    );
    let got = it.ask(2, &["kv", "get", "a"]);
    assert_eq!(got.stdout.trim_ascii(), b"b");

    let client = stranger(&it.certificates);
    for (path, status) in [
        ("/health/ready", 200),
        ("/health/live", 200),
        ("/v1/cluster/members", 401),
        ("/v1/kv/a", 401),
        ("/metrics", 401),
    ] {
        let answer = client
            .get(format!("{}{path}", it.url(0)))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
    // In plain nobody is answered at all.
    let plain = it.url(0).replace("https", "http");
    assert!(reqwest::get(format!("{plain}/health/live")).await.is_err());

    let status = it.json(0, &["status"]).unwrap();
    let rows = status["certificates"]["member-2"].as_array().unwrap();
    let left = |what: &str| {
        let row = rows.iter().find(|row| row["what"] == what).unwrap();
        row["left_s"].as_u64().unwrap() / 86_400
    };
    assert_eq!((left("member"), left("ca")), (89, 7_299));
    // Of the host there may be some.
    let warnings = status["warnings"].to_string();
    assert!(!warnings.contains("certificate"), "{warnings}");
}

// Tests 3 and 4 in part: another authority of the same domain, and the same of another name.
#[tokio::test(flavor = "multi_thread")]
async fn newcomer_without_its_certificate_is_refused() {
    let mut it = TlsCluster::start(1).await;
    let join = it.url(0);
    let newcomer = it.cluster.add_member();
    let member = &it.cluster.members[newcomer];
    let (config, name) = (member.config(), member.name.clone());
    let plain = fs::read_to_string(&config).unwrap();

    // Without any: https is not for it, and neither is plain HTTP.
    let refused = |it: &mut TlsCluster, wanted: &str| {
        let member = &mut it.cluster.members[newcomer];
        member.start(&["--join", &join]);
        let status = member.wait_exit(Duration::from_secs(90));
        let log = fs::read_to_string(member.log()).unwrap();
        assert!(!status.success() && log.contains(wanted), "{wanted}: {log}");
        fs::remove_file(member.log()).unwrap();
    };
    refused(&mut it, "tls.cert");

    // Another member's.
    fs::write(
        &config,
        format!("{plain}{}", it.certificates.settings("member-1")),
    )
    .unwrap();
    refused(&mut it, "quorate cert issue");

    // Its own name, of another authority with the same domain.
    let others = Certificates::new("shop");
    others.issue("--name", &name);
    fs::write(&config, format!("{plain}{}", others.settings(&name))).unwrap();
    refused(&mut it, "invalid peer certificate");

    // Its own.
    it.certificates.issue("--name", &name);
    fs::write(
        &config,
        format!("{plain}{}", it.certificates.settings(&name)),
    )
    .unwrap();
    it.cluster.members[newcomer].start(&["--join", &join]);
    it.voters(2).await;
}

// Test 18 in part: SIGHUP suffices, what is open stays open, and a bad file changes nothing.
// guarantee: SECURITY-11
#[tokio::test(flavor = "multi_thread")]
async fn hangup_reloads_certificates_and_keeps_connections() {
    let it = TlsCluster::start(3).await;
    let term = it.term();
    let mut watch = ChildProcess::spawn(piped(it.command(0, &["kv", "watch"]))).unwrap();
    let mut lines = watch.lines();
    let left = |n: usize| {
        let status = it.json(0, &["status"])?;
        let rows = &status["certificates"][format!("member-{}", n + 1)];
        let row = rows
            .as_array()
            .and_then(|rows| rows.iter().find(|r| r["what"] == "member"));
        let left = row
            .and_then(|row| row["left_s"].as_u64())
            .unwrap_or_default();
        Ok::<u64, NotYet>(left / 86_400)
    };
    let dir = it.certificates.dir.path().to_str().unwrap().to_owned();
    for n in 0..3 {
        let name = it.cluster.members[n].name.clone();
        let args = [
            "cert", "issue", "--ca", &dir, "--out", &dir, "--name", &name, "--days", "20",
        ];
        run(&args);
        it.cluster.members[n].signal(Signal::SIGHUP);
        eventually("the new certificate is shown", SOON, || async {
            match left(n)? {
                19 => Ok(()),
                days => Err(NotYet::Seen(format!("{days} days"))),
            }
        })
        .await;
    }
    // A bad one stays out.
    fs::write(
        it.certificates.path("member-1.pem"),
        "-----BEGIN CERTIFICATE-----\n",
    )
    .unwrap();
    it.cluster.members[0].signal(Signal::SIGHUP);
    eventually("the bad file is named", SOON, || async {
        let log = fs::read_to_string(it.cluster.members[0].log()).unwrap();
        let named = log.contains("certificates stay as they were") && log.contains("member-1.pem");
        named
            .then_some(())
            .ok_or_else(|| NotYet::Seen(it.cluster.members[0].log_tail()))
    })
    .await;
    assert_eq!(left(0).unwrap(), 19);
    let status = it.json(0, &["status"]).unwrap();
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("expires in 19 days"), "{warnings}");
    // No election, and the stream that was open before all this is open still.
    assert_eq!(it.term(), term);
    assert!(
        it.ask(1, &["kv", "put", "after", "reload"])
            .status
            .success()
    );
    let heard = tokio::task::spawn_blocking(move || lines.find(|line| line.contains("after")));
    let heard = tokio::time::timeout(SOON, heard).await.unwrap().unwrap();
    assert!(heard.is_some());
}

fn piped(mut command: Command) -> Command {
    use std::process::Stdio;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

// Test 20 in part, and 3: HAProxy checks members by their name, and believes no other authority.
#[tokio::test(flavor = "multi_thread")]
async fn balancer_checks_members_behind_tls() {
    let it = TlsCluster::start(3).await;
    it.certificates.issue("--balancer", "front");
    let good = balancer(&it, &it.certificates).await;
    let client = reqwest::Client::new();
    let ready = |port: u16, wanted: u16| {
        let client = client.clone();
        async move {
            let url = format!("http://127.0.0.1:{port}/zato-lb-ready");
            let answer = client
                .get(url)
                .send()
                .await
                .map_err(|e| NotYet::Seen(e.to_string()))?;
            let status = answer.status().as_u16();
            (status == wanted)
                .then_some(())
                .ok_or_else(|| NotYet::Seen(status.to_string()))
        }
    };
    eventually("a member is ready for the balancer", SOON, || {
        ready(good.port, 200)
    })
    .await;
    let url = format!("http://127.0.0.1:{}/zato/ping", good.port);
    assert!(client.get(url).send().await.unwrap().status().is_success());

    // It knows the members by its predecessor's list, and trusts another authority.
    let others = Certificates::new("shop");
    others.issue("--balancer", "front");
    let bad = balancer(&it, &others).await;
    eventually("no member is ready for the other", SOON, || {
        ready(bad.port, 503)
    })
    .await;
}

struct RunningBalancer {
    port: u16,
    _process: ChildProcess,
    _dir: TempDir,
}

async fn balancer(it: &TlsCluster, certificates: &Certificates) -> RunningBalancer {
    let dir = TempDir::new().unwrap();
    let port = ports::free();
    let urls: Vec<String> = (0..3).map(|n| it.url(n)).collect();
    let config = dir.path().join("balancer.toml");
    let text = format!(
        "bind = \"127.0.0.1:{port}\"\nmembers = {urls:?}\n[members_tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n",
        certificates.path("ca.pem"),
        certificates.path("front.pem"),
        certificates.path("front.key"),
    );
    fs::write(&config, text).unwrap();
    let mut command = bound(&*QUORATE);
    command.arg("balancer").arg("--config").arg(&config);
    RunningBalancer {
        port,
        _process: ChildProcess::spawn(command).unwrap(),
        _dir: dir,
    }
}

#[test]
fn authority_is_never_replaced_and_keys_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let certificates = Certificates::new("shop");
    let out = certificates.dir.path().to_str().unwrap();
    let again = Command::new(&*QUORATE)
        .args(["cert", "create-ca", "--out", out])
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
    for (name, mode) in [("ca.key", 0o600), ("ann.key", 0o600), ("ca.pem", 0o644)] {
        let seen = fs::metadata(certificates.path(name)).unwrap().permissions();
        assert_eq!(seen.mode() & 0o777, mode, "{name}");
    }
    for bad in ["a b", "../x", "*", ""] {
        let args = ["cert", "issue", "--ca", out, "--out", out, "--client", bad];
        let refused = Command::new(&*QUORATE).args(args).output().unwrap();
        assert!(!refused.status.success(), "{bad:?}");
    }
}

// Test 61 in part: one command, and what it prints works as it stands.
#[tokio::test(flavor = "multi_thread")]
async fn secure_quickstart_prints_commands_that_work() {
    let root = TempDir::new().unwrap();
    let mut command = bound(&*QUORATE);
    command
        .args(["quickstart", "--secure", "--port-offset", "9600", "--dir"])
        .arg(root.path().join("quickstart"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    let mut quickstart = ChildProcess::spawn(command).unwrap();
    let lines = quickstart.lines();
    let printed = tokio::task::spawn_blocking(move || {
        lines
            .take_while(|line| !line.starts_with("Ctrl-C"))
            .collect::<Vec<_>>()
    });
    let printed = tokio::time::timeout(Duration::from_secs(120), printed).await;
    let printed = printed.unwrap().unwrap();
    let exports: Vec<&str> = printed
        .iter()
        .map(|line| line.trim())
        .filter(|line| line.starts_with("export "))
        .collect();
    assert_eq!(exports.len(), 2, "{printed:#?}");
    let curl = printed
        .iter()
        .find(|line| line.contains("--cacert"))
        .unwrap();
    let quorate = QUORATE.display();
    for call in [&format!("{quorate} members --output json"), curl.trim()] {
        let script = format!("{}\n{call}", exports.join("\n"));
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && told.contains("member-3"),
            "{call}: {told}"
        );
    }
    quickstart.signal(Signal::SIGINT);
    assert!(quickstart.wait_within(SOON).unwrap().success());
}
