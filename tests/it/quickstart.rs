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
use reqwest::Method;

use crate::support::{cluster::SOON, http, member::QUORATE, wait::until};

const OFFSET: u16 = 9000;

struct Quickstart {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Quickstart {
    fn start(dir: &Path) -> Quickstart {
        let mut child = Command::new(QUORATE)
            .args(["quickstart", "--port-offset", &OFFSET.to_string(), "--dir"])
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
async fn quickstart_is_ready_survives_a_kill_stops_all_and_resumes() {
    let root = tempfile::tempdir().expect("a folder");
    let dir = root.path().join("quickstart");
    let mut quickstart = Quickstart::start(&dir);
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
    let output = Command::new(QUORATE)
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
    let mut by_hand = Command::new(QUORATE)
        .args(["server", "--config"])
        .arg(&config)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("a member by hand");
    until("the member that was started by hand", SOON, || async {
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

    let mut second = Quickstart::start(&dir);
    second.line(|line| line.starts_with("ready"));
    second.stop();
}
