//! Logs that can't be written, or that nobody reads: whoever says something goes on, and ends
//! as it would have.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::fd::OwnedFd,
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    time::Duration,
};

use quorate_testkit::{
    balancer::BalancerProcess,
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    programs::QUORATE,
};
use reqwest::Method;

fn full() -> File {
    let full = OpenOptions::new().write(true).open("/dev/full");
    full.expect("a device that is always full")
}

/// A member alone whose stderr is this, once it is ready.
async fn member_saying_to(err: impl Into<Stdio>, extra: &str) -> TestCluster {
    let mut cluster = TestCluster::prepare(1, 500, extra);
    cluster.members[0].start_saying_to(&["--bootstrap"], err.into());
    cluster.voters(1).await;
    cluster
}

async fn lost(cluster: &TestCluster) -> Result<u64, String> {
    let metrics = cluster.members[0].admin_url("/metrics");
    let answer = http::call(Method::GET, &metrics, &[], "").await?;
    let text = answer.text().await.map_err(|error| error.to_string())?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("quorate_log_lines_lost_total "));
    let line = line.ok_or("it is not among the metrics")?;
    line.trim().parse().map_err(|_| line.to_owned())
}

async fn loses_lines(cluster: &TestCluster) {
    let ping = cluster.members[0].http_url("/zato/ping");
    eventually("lost lines that are counted", SOON, || async {
        // Each says something, where so much is asked for.
        for _ in 0..200 {
            http::call(Method::GET, &ping, &[], "").await?;
        }
        match lost(cluster).await? {
            0 => Err("none so far".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
}

async fn serves(cluster: &TestCluster) {
    let ping = cluster.members[0].http_url("/zato/ping");
    for url in [cluster.members[0].admin_url("/health/ready"), ping] {
        let answer = http::call(Method::GET, &url, &[], "").await;
        assert_eq!(answer.expect("an answer").status(), 200, "{url}");
    }
}

// guarantee: HOST-1
#[tokio::test]
async fn member_with_full_log_serves_and_stops_orderly() {
    let mut cluster = member_saying_to(full(), "").await;
    loses_lines(&cluster).await;
    serves(&cluster).await;
    assert!(cluster.members[0].stop().success());
}

// guarantee: HOST-1
#[tokio::test]
async fn member_with_closed_log_serves_and_stops_orderly() {
    let (near, far) = UnixStream::pair().expect("a pair");
    drop(far);
    let mut cluster = member_saying_to(OwnedFd::from(near), "").await;
    loses_lines(&cluster).await;
    serves(&cluster).await;
    assert!(cluster.members[0].stop().success());
}

// guarantee: HOST-1
#[tokio::test]
async fn member_with_blocked_log_serves_and_reports_loss() {
    let (near, mut far) = UnixStream::pair().expect("a pair");
    // So much is said that every buffer is full in a moment.
    let extra = "[log]\nlevel = \"trace\"\n";
    let mut cluster = member_saying_to(OwnedFd::from(near), extra).await;
    loses_lines(&cluster).await;
    serves(&cluster).await;
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        far.read_to_end(&mut text).expect("what was said");
        String::from_utf8_lossy(&text).into_owned()
    });
    // Lines get out again.
    serves(&cluster).await;
    assert!(cluster.members[0].stop().success());
    let text = reader.join().expect("a reader");
    assert!(
        text.contains("lines of the log were lost"),
        "{} bytes",
        text.len()
    );
    assert!(text.contains("stopped"), "the last line is missing");
}

// guarantee: HOST-1
#[tokio::test]
async fn member_with_unread_log_stops_in_time() {
    let (near, _far) = UnixStream::pair().expect("a pair");
    let extra = "[log]\nlevel = \"trace\"\n";
    let mut cluster = member_saying_to(OwnedFd::from(near), extra).await;
    loses_lines(&cluster).await;
    assert!(cluster.members[0].stop().success());
}

// guarantee: HOST-1
#[tokio::test]
async fn balancer_with_full_log_serves_and_ignores_hangup() {
    let cluster = TestCluster::start(1, 500, "").await;
    let balancer = BalancerProcess::start_saying_to(&cluster, full()).await;
    balancer.signal(nix::sys::signal::Signal::SIGHUP);
    cluster.members[0].signal(nix::sys::signal::Signal::SIGHUP);
    eventually("a line about the signal", SOON, || async {
        let log = fs::read_to_string(cluster.members[0].log()).unwrap_or_default();
        let told = log.contains("SIGHUP is ignored");
        told.then_some(()).ok_or("there is none")
    })
    .await;
    let answer = http::call(Method::GET, balancer.at("/zato/ping"), &[], "").await;
    assert_eq!(answer.expect("an answer").status(), 200);
    assert!(balancer.stop().success());
}

// guarantee: HOST-1
#[tokio::test]
async fn command_with_unwritable_output_still_takes_effect() {
    let cluster = TestCluster::start(1, 500, "").await;
    let admin = cluster.members[0].admin_url("");
    let run = |arguments: &[&str], admin: &str| {
        let status = Command::new(&*QUORATE)
            .args(arguments)
            .env("QUORATE_ADMIN", admin)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(full())
            .status();
        status.expect("a run").code()
    };
    assert_eq!(run(&["kv", "put", "a", "b"], &admin), Some(0));
    assert_eq!(run(&["kv", "delete", "a"], &admin), Some(0));
    // One voter alone is warned of.
    assert_eq!(run(&["status"], &admin), Some(0));
    assert_eq!(run(&["kv", "get", "a"], &admin), Some(1));
    assert_eq!(run(&["status"], "http://127.0.0.1:1"), Some(3));
    assert_eq!(run(&["quickstart", "--members", "0"], &admin), Some(2));
    assert_eq!(
        run(&["server", "--config", "nowhere.toml"], &admin),
        Some(1)
    );
}

#[tokio::test]
async fn connector_processes_log_as_their_member_does() {
    let extra = "[log]\nlevel = \"debug\"\nformat = \"json\"\n";
    let cluster = TestCluster::start(1, 500, extra).await;
    let port = quorate_testkit::ports::free();
    let service = serde_json::json!({"name": "echo-it", "builtin": "echo"});
    cluster.put(0, "service", service).await;
    let channel = serde_json::json!({
        "name": "z", "address": format!("tcp://127.0.0.1:{port}"), "socket_type": "PULL",
        "method": "bind", "service": "echo-it",
    });
    cluster.put(0, "zmq_channel", channel).await;
    let log = cluster.members[0].log();
    eventually(
        "a line of the connector's process",
        Duration::from_secs(30),
        || async {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let told = text
                .lines()
                .any(|line| line.contains("connector process up"));
            told.then_some(()).ok_or("there is none")
        },
    )
    .await;
    cluster.connector_in(0, "z", "active").await;
    for line in fs::read_to_string(&log).expect("the log").lines() {
        let json: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(json.is_ok(), "no JSON: {line}");
    }
}

/// What a member writes to a terminal until it is in service.
async fn on_a_terminal(no_color: &str) -> Vec<u8> {
    let cluster = TestCluster::prepare(1, 500, "");
    let (member, out) = (&cluster.members[0], cluster.root.path().join("terminal"));
    let command = format!(
        "exec {} server --config {} --bootstrap",
        QUORATE.display(),
        member.config().display()
    );
    let mut terminal = Command::new("script")
        .args(["-qfec", &command])
        .arg(&out)
        .env("TERM", "xterm")
        .env("NO_COLOR", no_color)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("a terminal");
    let text = eventually("a line of log", SOON, || async {
        let text = fs::read(&out).unwrap_or_default();
        let told = String::from_utf8_lossy(&text).contains("in service");
        told.then_some(text).ok_or("there is none")
    })
    .await;
    let pid = fs::read_to_string(member.dir.join("pid")).expect("a pid file");
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a number"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a signal");
    terminal.wait().expect("its end");
    text
}

#[tokio::test]
async fn no_color_is_honoured_on_a_terminal() {
    const ESCAPE: u8 = 0x1b;
    assert!(on_a_terminal("").await.contains(&ESCAPE));
    let plain = on_a_terminal("1").await;
    assert!(
        !plain.contains(&ESCAPE),
        "{}",
        String::from_utf8_lossy(&plain)
    );
}
