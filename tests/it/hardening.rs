//! A member of a user other than root: its process and its connectors' show nothing, and all that
//! goes by `/proc/self` works all the same.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Command,
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::geteuid};
use quorate_testkit::{
    eventually::{eventually, some},
    http, ports,
    process::{ChildProcess, children},
    programs::QUORATE,
};
use serde_json::{Value, json};

const USER: u32 = 65_534;
const LIMIT: Duration = Duration::from_secs(30);

/// Starts a member of that user in this folder; the program lies there too, where it may be run.
fn member(dir: &Path, admin: u16) -> ChildProcess {
    let program = dir.join("quorate");
    fs::copy(&*QUORATE, &program).expect("the program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let settings = format!(
        "name = \"one\"\ndata_dir = \"home/data\"\n[http]\nbind = \"127.0.0.1:{}\"\n\
         [admin]\nbind = \"127.0.0.1:{admin}\"\n[peer]\nbind = \"127.0.0.1:{}\"\n",
        ports::free(),
        ports::free()
    );
    fs::write(dir.join("quorate.toml"), settings).expect("settings");
    fs::create_dir(dir.join("home")).expect("a folder");
    chown(dir.join("home"), Some(USER), Some(USER)).expect("its owner");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("its mode");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(["server", "--bootstrap", "--config"])
        .arg(dir.join("quorate.toml"))
        .current_dir(dir);
    ChildProcess::spawn(command).expect("a member")
}

/// Whose the files are that show a process' memory and environment; the process is the user's.
fn owner_of_secrets(pid: u32) -> u32 {
    let owner = |path: &str| {
        fs::metadata(format!("/proc/{pid}{path}"))
            .expect("a process")
            .uid()
    };
    assert_eq!(owner(""), USER);
    owner("/environ")
}

// Pitfall P9 of `/proc/self`, and test 58 of a process as it is run.
// guarantee: SECURITY-46
#[tokio::test]
async fn member_of_another_user_hides_and_runs_connectors() {
    if !geteuid().is_root() {
        return println!("only root may start a process of another user");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let admin = ports::free();
    let mut member = member(dir.path(), admin);
    let url = |path: &str| format!("http://127.0.0.1:{admin}{path}");
    eventually("it is ready", LIMIT, || {
        http::succeeds(url("/health/ready"))
    })
    .await;
    let put = async |kind: &str, name: &str, spec: Value| {
        let url = url(&format!("/v1/config/{kind}/{name}"));
        eventually("a write", LIMIT, || http::put(&url, spec.to_string())).await
    };
    put(
        "service",
        "echo",
        json!({"name": "echo", "builtin": "echo"}),
    )
    .await;
    // Its socket is made by the connector, inside of its sandbox.
    let socket = dir.path().join("home/run/zmq/in");
    let address = format!("ipc://{}", socket.display());
    let channel = json!({"name": "in", "address": address, "socket_type": "PULL",
                         "method": "bind", "service": "echo"});
    put("zmq_channel", "in", channel).await;
    let active = async || {
        let answer = http::get_json(&url("/v1/connectors")).await.ok()?;
        let row = answer["connectors"].get(0)?.clone();
        (row["state"] == "active").then_some(row)
    };
    let row = some("the connector is active", LIMIT, active).await;
    assert!(socket.exists());
    let connector = row["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let connector = connector.expect("a process");
    assert_eq!(children(member.pid()), [connector]);
    for pid in [member.pid(), connector] {
        assert_eq!(owner_of_secrets(pid), 0, "root's, so nobody's of that user");
    }
    // What it reads of itself.
    let metrics = http::call(reqwest::Method::GET, &url("/metrics"), &[], "").await;
    let metrics = metrics.expect("metrics").text().await.expect("a text");
    for name in ["process_open_fds", "quorate_connector_sandbox_abi"] {
        let line = metrics.lines().find(|it| it.starts_with(name));
        assert!(
            line.is_some_and(|it| !it.ends_with(" 0")),
            "{name}: {line:?}"
        );
    }
    member.signal(Signal::SIGTERM);
    assert!(member.wait_within(LIMIT).expect("its end").success());
}
