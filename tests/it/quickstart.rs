//! `quorate quickstart`, as a newcomer uses it, on other ports.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_testkit::{cluster::SOON, eventually::eventually, http, programs::QUORATE};
use reqwest::Method;

const OFFSET: u16 = 9000;

struct Quickstart {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Quickstart {
    fn start(dir: &Path, offset: u16) -> Quickstart {
        let mut child = Command::new(&*QUORATE)
            .args(["quickstart", "--port-offset", &offset.to_string(), "--dir"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("quickstart");
        let out = child.stdout.take().expect("its output");
        let (send, lines) = mpsc::sync_channel(1000);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Quickstart {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that `wanted` likes.
    fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(_) => panic!("no such line in {:#?}", self.seen),
            }
        }
    }

    fn stop(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).expect("a signal");
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{status}");
    }
}

fn pid(dir: &Path, of: &str) -> Pid {
    let text = fs::read_to_string(dir.join(of).join("pid")).expect("a pid file");
    Pid::from_raw(text.trim().parse().expect("a number"))
}

#[tokio::test]
async fn quickstart_survives_kill_stops_all_and_resumes() {
    let root = tempfile::tempdir().expect("a folder");
    let dir = root.path().join("quickstart");
    let mut quickstart = Quickstart::start(&dir, OFFSET);
    quickstart.line(|line| line.starts_with("ready"));
    let leader = |n: u16| format!("http://127.0.0.1:{}/v1/cluster/leader", 17110 + OFFSET + n);
    let balancer = format!("http://127.0.0.1:{}/zato/ping", 11223 + OFFSET);
    for n in 0..3 {
        let answer = http::get_json(&leader(n)).await.expect("an answer");
        assert_eq!(answer["failure_tolerance"], 1);
    }
    let ping = http::call(Method::GET, &balancer, &[], "")
        .await
        .expect("an answer");
    assert_eq!(ping.status(), 200);
    let output = Command::new(&*QUORATE)
        .args([
            "leader",
            "--output",
            "json",
            "--admin",
            leader(0).trim_end_matches("/v1/cluster/leader"),
        ])
        .output()
        .expect("a run");
    assert!(output.status.success());
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
    let name = told["leader"]["name"].as_str().expect("a name").to_owned();

    // It tells of the dead member, and the command that it prints starts it again.
    kill(pid(&dir, &name), Signal::SIGKILL).expect("a signal");
    quickstart.line(|line| {
        line.contains("quorate server --config") || line.contains(&format!("{name}/quorate.toml"))
    });
    let config = dir.join(&name).join("quorate.toml");
    let mut by_hand = Command::new(&*QUORATE)
        .args(["server", "--config"])
        .arg(&config)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("a member by hand");
    eventually("the member that was started by hand", SOON, || async {
        let n = name
            .trim_start_matches("member-")
            .parse::<u16>()
            .expect("a number")
            - 1;
        http::get_json(&leader(n)).await.map(drop)
    })
    .await;
    let again = pid(&dir, &name);
    assert_eq!(again.as_raw(), by_hand.id() as i32);

    // Ctrl-C stops it too.
    quickstart.stop();
    assert!(by_hand.wait().expect("its end").success());

    let mut second = Quickstart::start(&dir, OFFSET);
    second.line(|line| line.starts_with("ready"));
    second.stop();
}

#[tokio::test]
async fn quickstart_with_moved_members_gets_ready() {
    const OFFSET: u16 = 9_060;
    let root = tempfile::tempdir().expect("a folder");
    let mut first = Quickstart::start(root.path(), OFFSET);
    first.line(|line| line.starts_with("ready"));
    first.stop();
    let peer = |n: u16| 17210 + OFFSET + n;
    for n in 0..3 {
        let config = root.path().join(format!("member-{}/quorate.toml", n + 1));
        let text = fs::read_to_string(&config).expect("its settings");
        let moved = text.replace(&peer(n).to_string(), &peer(n + 10).to_string());
        assert_ne!(text, moved);
        fs::write(&config, moved).expect("its settings");
    }
    let mut second = Quickstart::start(root.path(), OFFSET);
    second.line(|line| line.starts_with("ready"));
    let members = format!("http://127.0.0.1:{}/v1/cluster/members", 17110 + OFFSET);
    eventually("every member known where it is", SOON, || async {
        let told = http::get_json(&members).await?;
        let rows = told["members"].as_array().cloned().unwrap_or_default();
        let peers: Vec<_> = rows.iter().filter_map(|row| row["peer"].as_str()).collect();
        let right = [10, 11, 12].map(|n| format!("127.0.0.1:{}", peer(n)));
        match right.iter().all(|it| peers.contains(&it.as_str())) {
            true => Ok(()),
            false => Err(told.to_string()),
        }
    })
    .await;
    second.stop();
}

/// Where nothing of it may be left.
fn gone(pid: Pid) -> Result<(), String> {
    match kill(pid, None) {
        Err(_) => Ok(()),
        Ok(()) => Err(format!("process {pid} runs")),
    }
}

async fn ready(offset: u16, dir: &Path) {
    eventually("a quickstart that is ready", SOON, || async {
        let leader = format!("http://127.0.0.1:{}/v1/cluster/members", 17110 + offset);
        let told = http::get_json(&leader).await?;
        let voters = told["members"].as_array().cloned().unwrap_or_default();
        let voters = voters.iter().filter(|it| it["role"] == "voter").count();
        let ping = format!("http://127.0.0.1:{}/zato/ping", 11223 + offset);
        let ping = http::call(Method::GET, &ping, &[], "").await?;
        match (voters, ping.status().as_u16()) {
            // Written last, by itself. What dies before that is its failure.
            (3, 200) => match fs::read_to_string(dir.join("whereabouts")) {
                Ok(text) if !text.is_empty() => Ok(()),
                _ => Err("all are, and it doesn't know yet".to_owned()),
            },
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
}

// guarantee: HOST-2
#[tokio::test]
async fn closed_terminal_stops_all_quickstart_processes() {
    const OFFSET: u16 = 9_020;
    let root = tempfile::tempdir().expect("a folder");
    let dir = root.path().join("my quick start");
    let command = format!(
        "exec '{}' quickstart --port-offset {OFFSET} --dir '{}'",
        QUORATE.display(),
        dir.display()
    );
    // Whoever runs these tests may have it ignored (`nohup`).
    let mut terminal = Command::new("env")
        .args(["--default-signal=HUP", "script"])
        .args(["-qfec", &command, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("a terminal");
    ready(OFFSET, &dir).await;
    let pids = ["member-1", "member-2", "member-3", "balancer"].map(|of| pid(&dir, of));
    terminal.kill().expect("its end");
    terminal.wait().expect("its end");
    eventually("the end of all processes", SOON, || async {
        pids.iter().try_for_each(|pid| gone(*pid))
    })
    .await;
    let ping = format!("http://127.0.0.1:{}/zato-lb-alive", 11223 + OFFSET);
    eventually("the end of HAProxy", SOON, || async {
        match http::call(Method::GET, &ping, &[], "").await {
            Ok(answer) => Err(format!("it answers {}", answer.status())),
            Err(_) => Ok(()),
        }
    })
    .await;
}

// guarantee: HOST-1
#[tokio::test]
async fn quickstart_with_unwritable_output_runs_and_stops_all() {
    const OFFSET: u16 = 9_040;
    let root = tempfile::tempdir().expect("a folder");
    let full = || {
        let full = fs::File::options().write(true).open("/dev/full");
        full.expect("a device that is always full")
    };
    let mut quickstart = Command::new(&*QUORATE)
        .args(["quickstart", "--port-offset", &OFFSET.to_string(), "--dir"])
        .arg(root.path())
        .stdin(Stdio::null())
        .stdout(full())
        .stderr(full())
        .spawn()
        .expect("quickstart");
    ready(OFFSET, root.path()).await;
    let pids = ["member-1", "member-2", "member-3", "balancer"].map(|of| pid(root.path(), of));
    // A death is told of.
    kill(pids[0], Signal::SIGKILL).expect("a signal");
    eventually("the end of the member", SOON, || async { gone(pids[0]) }).await;
    assert!(quickstart.try_wait().expect("its status").is_none());
    kill(Pid::from_raw(quickstart.id() as i32), Signal::SIGINT).expect("a signal");
    assert!(quickstart.wait().expect("its end").success());
    for pid in pids {
        assert_eq!(gone(pid), Ok(()));
    }
}
