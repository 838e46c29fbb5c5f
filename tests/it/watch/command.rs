//! `quorate kv watch` as a process, while members come and go.

use std::{process::Stdio, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;
use serde_json::Value;

use super::{MIB, put};
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    event_stream::of,
    eventually::eventually,
    process::{ChildProcess, bound},
    programs::QUORATE,
};

/// The process, and the lines that it has printed.
struct Watch {
    process: ChildProcess,
    out: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
}

fn gathered(from: impl Iterator<Item = String> + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let to = lines.clone();
    std::thread::spawn(move || {
        for line in from {
            to.lock().push(line);
        }
    });
    lines
}

impl Watch {
    fn start(admin: &str, args: &[&str]) -> Watch {
        let mut command = bound(&*QUORATE);
        command
            .args(["kv", "watch"])
            .args(args)
            .env("QUORATE_ADMIN", admin)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = ChildProcess::spawn(command).expect("the command");
        let (out, told) = (process.lines(), process.error_lines());
        Watch {
            process,
            out: gathered(out),
            told: gathered(told),
        }
    }

    /// Waits until something on stderr contains `what`.
    async fn says(&self, what: &str) {
        eventually(what, SOON, || async {
            let told = self.told.lock();
            match told.iter().any(|line| line.contains(what)) {
                true => Ok(()),
                false => Err(format!("{told:?}")),
            }
        })
        .await;
    }

    async fn printed(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines"), SOON, || async {
            let out = self.out.lock();
            match out.len() >= count {
                true => Ok(out.clone()),
                false => Err(format!("{out:?} {:?}", self.told.lock())),
            }
        })
        .await
    }

    async fn exit(mut self) -> (i32, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.status() {
                // its last words may still be on their way
                let told = eventually("last words", SOON, || async {
                    let told = self.told.lock().join("\n");
                    match told.contains("error") {
                        true => Ok(told),
                        false => Err(told),
                    }
                })
                .await;
                return (status.code().unwrap_or(-1), told);
            }
            assert!(start.elapsed() < SOON, "it goes on: {:?}", self.told.lock());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn admin(cluster: &TestCluster) -> String {
    let urls: Vec<_> = cluster.members.iter().map(|m| m.admin_url("")).collect();
    urls.join(",")
}

// guarantee: WATCH-1
#[tokio::test]
async fn watch_command_continues_elsewhere_printing_changes_once() {
    let mut cluster = TestCluster::three().await;
    let mut watch = Watch::start(&admin(&cluster), &["--prefix", "w", "--output", "json"]);
    watch.says("watching from revision").await;
    let mut written = Vec::new();
    for at in [0, 1, 2, 0] {
        for n in 0..5 {
            written.push(put(&cluster, at, &format!("w{n}"), "x").await);
            put(&cluster, at, "other", "x").await;
        }
        watch.printed(written.len()).await;
        // the command has gone from one to the next each time
        match at {
            2 => assert!(cluster.members[at].stop().success()),
            _ => cluster.members[at].kill(),
        }
        cluster.leader_but(Some(at)).await;
        written.push(put(&cluster, (at + 1) % 3, "w", "y").await);
        cluster.members[at].start(&[]);
        cluster.voters(3).await;
    }
    let printed = watch.printed(written.len()).await;
    let printed: Vec<u64> = printed
        .iter()
        .map(|line| of(&serde_json::from_str::<Value>(line).expect("JSON")))
        .collect();
    assert_eq!(printed, written);
    let lost = watch
        .told
        .lock()
        .iter()
        .filter(|l| l.contains("is lost"))
        .count();
    assert!(lost >= 3, "{:?}", watch.told.lock());

    // a cluster that is wholly away for a moment is waited for
    for member in &mut cluster.members {
        member.kill();
    }
    for member in &mut cluster.members {
        member.start(&[]);
    }
    cluster.voters(3).await;
    written.push(put(&cluster, 0, "w", "z").await);
    watch.printed(written.len()).await;
    assert!(watch.process.status().is_none());
}

#[tokio::test]
async fn watch_command_errors_exit_with_remedy_and_code() {
    let cluster = TestCluster::start(1, 500, "").await;
    let admin = admin(&cluster);
    let first = put(&cluster, 0, "a", "x").await;
    let table = Watch::start(&admin, &["--from", &first.to_string()]);
    assert_eq!(table.printed(1).await, [format!("{first}  put     a  x")]);
    for n in 0..18 {
        put(&cluster, 0, &format!("big{}", n % 2), vec![b'x'; MIB]).await;
    }
    let lines = table.printed(19).await;
    assert!(lines[18].ends_with("(1048576 bytes)"), "{}", lines[18]);

    let (code, told) = Watch::start(&admin, &["--from", "1"]).exit().await;
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("quorate kv list") && told.contains("--from"),
        "{told}"
    );
    let (code, told) = Watch::start(&admin, &["--from", "99999999"]).exit().await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("another cluster"), "{told}");
    let (code, told) = Watch::start(&admin, &["--from", "abc"]).exit().await;
    assert_eq!(code, 2, "{told}");
    let nobody = format!("http://127.0.0.1:{}", quorate_testkit::ports::free());
    let (code, told) = Watch::start(&nobody, &[]).exit().await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("no member answered"), "{told}");
}
