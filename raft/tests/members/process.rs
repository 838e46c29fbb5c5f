//! Member as a process of its own, so that it can die, or be stopped, as one does.
//!
//! The process is this very program, asked to run one "test" that is no test. It takes
//! commands line by line and says line by line what happens to it.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{ChildStdin, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_raft::{MemberIdentity, Node, NodeOptions, NodeStartMode, PeerIncoming};
use quorate_testkit::{
    eventually, ports,
    process::{ChildProcess, bound},
};
use quorate_types::{Member, MemberId, Timing};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader as AsyncBufReader};

use crate::{
    group::{SNAPSHOTS, SOON, listen},
    machine::{Counting, View, write},
    tls,
};

const TOLD: &str = "QUORATE_TEST_MEMBER";

/// What starts a member: passed on as JSON.
#[derive(serde::Serialize, serde::Deserialize)]
struct Told {
    dir: PathBuf,
    member: Member,
    failover_ms: u64,
    join: Option<MemberIdentity>,
    /// The folder of its certificate, behind TLS.
    tls: Option<PathBuf>,
}

/// What a process says of itself, stamped when it was heard.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub id: MemberId,
    pub term: u64,
    pub leader: MemberId,
    pub leading: bool,
    pub reason: String,
    pub silent: String,
    pub voters: usize,
    /// When it was first heard to lead in that term.
    pub leading_at: Option<Instant>,
}

/// The process, while it runs.
struct Running {
    process: ChildProcess,
    orders: ChildStdin,
    answers: mpsc::Receiver<String>,
}

pub struct MemberProcess {
    dir: TempDir,
    pub member: Member,
    failover_ms: u64,
    tls: Option<PathBuf>,
    join: Option<MemberIdentity>,
    running: Option<Running>,
    said: Arc<Mutex<Said>>,
}

impl MemberProcess {
    pub fn new(name: &str, failover_ms: u64) -> MemberProcess {
        MemberProcess {
            dir: TempDir::new().unwrap(),
            member: Member {
                name: name.to_owned(),
                http: "127.0.0.1:1".to_owned(),
                admin: "127.0.0.1:2".to_owned(),
                peer: format!("127.0.0.1:{}", ports::free()),
            },
            failover_ms,
            tls: None,
            join: None,
            running: None,
            said: Arc::default(),
        }
    }

    pub fn start(&mut self) {
        let told = Told {
            dir: self.dir.path().to_owned(),
            member: self.member.clone(),
            failover_ms: self.failover_ms,
            join: self.join.clone(),
            tls: self.tls.clone(),
        };
        let mut command = bound(env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "--nocapture", "process::a_member"])
            .env(TOLD, serde_json::to_string(&told).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = ChildProcess::spawn(command).unwrap();
        let (answered, answers) = mpsc::channel();
        self.said = Arc::default();
        let said = self.said.clone();
        let lines = process.lines();
        std::thread::spawn(move || {
            for line in lines {
                let at = Instant::now();
                if let Some(news) = line.strip_prefix("news ") {
                    take_in(&mut said.lock(), news, at);
                } else if let Some(answer) = line.strip_prefix("answer ") {
                    let _ = answered.send(answer.to_owned());
                }
            }
        });
        self.running = Some(Running {
            orders: process.input(),
            process,
            answers,
        });
    }

    pub fn said(&self) -> Said {
        self.said.lock().clone()
    }

    pub fn up(&self) -> bool {
        self.running.is_some()
    }

    pub fn leading(&self) -> bool {
        self.up() && self.said.lock().leading
    }

    /// Gives a command, whose answer is waited for elsewhere.
    pub fn order(&mut self, order: &str) {
        let orders = &mut self.running.as_mut().unwrap().orders;
        writeln!(orders, "{order}").unwrap();
        orders.flush().unwrap();
    }

    pub fn answer(&self) -> String {
        let answers = &self.running.as_ref().unwrap().answers;
        answers.recv_timeout(SOON).unwrap()
    }

    pub fn ask(&mut self, order: &str) -> String {
        self.order(order);
        self.answer()
    }

    pub fn signal(&self, signal: Signal) {
        self.running.as_ref().unwrap().process.signal(signal);
    }

    /// kill -9, and reaps it. Returns when the signal was sent.
    pub fn kill(&mut self) -> Instant {
        let at = Instant::now();
        self.running = None;
        at
    }
}

fn take_in(said: &mut Said, news: &str, at: Instant) {
    let fields: Vec<&str> = news.split(' ').collect();
    let number = |i: usize| fields[i].parse::<u64>().unwrap();
    let (term, leading) = (number(1), fields[3] == "true");
    let leading_at = match leading {
        true if said.term == term && said.leading => said.leading_at,
        true => Some(at),
        false => None,
    };
    *said = Said {
        id: number(0),
        term,
        leader: number(2),
        leading,
        reason: fields[4].to_owned(),
        silent: fields[5].to_owned(),
        voters: number(6) as usize,
        leading_at,
    };
}

/// Members that belong together, each a process.
pub struct Processes {
    pub all: Vec<MemberProcess>,
}

impl Processes {
    pub fn start(n: usize, failover_ms: u64) -> Processes {
        Processes::start_with(n, failover_ms, None)
    }

    /// The same, behind TLS where there is a folder of certificates.
    pub fn start_with(n: usize, failover_ms: u64, tls: Option<&Path>) -> Processes {
        let mut all: Vec<MemberProcess> = Vec::new();
        for i in 0..n {
            let mut one = MemberProcess::new(&format!("member-{}", i + 1), failover_ms);
            one.tls = tls.map(Path::to_owned);
            if let Some(first) = all.first_mut() {
                let newcomer = serde_json::to_string(&one.member).unwrap();
                let admission = first.ask(&format!("admit {newcomer}"));
                one.join = Some(serde_json::from_str(&admission).unwrap());
            }
            one.start();
            all.push(one);
            wait("all are voters", || {
                all.iter().all(|one| one.said().voters == i + 1)
            });
        }
        Processes { all }
    }

    /// Waits until everyone who runs agrees on a leader, and nobody misses anybody.
    pub fn settled(&self) -> usize {
        self.agreed(|one| one.said().silent == "[]")
    }

    /// Waits until everyone who runs agrees on a leader, whoever is missed.
    pub fn led(&self) -> usize {
        self.agreed(|_| true)
    }

    fn agreed(&self, also: impl Fn(&MemberProcess) -> bool) -> usize {
        let up = || self.all.iter().filter(|one| one.up());
        let agreed = || {
            let leader = self.all.iter().position(MemberProcess::leading)?;
            let said = self.all[leader].said();
            let all = up().all(|one| {
                let heard = one.said();
                (heard.leader, heard.term) == (said.id, said.term) && also(one)
            });
            all.then_some(leader)
        };
        let mut leader = None;
        wait("a leader that all agree on", || {
            leader = agreed();
            leader.is_some()
        });
        leader.unwrap()
    }

    pub fn followers(&self, leader: usize) -> Vec<usize> {
        (0..self.all.len()).filter(|i| *i != leader).collect()
    }

    /// Waits until somebody leads in a later term; returns who, and since when.
    pub fn successor(&self, term: u64) -> (usize, Instant) {
        let leads = |one: &MemberProcess| one.leading() && one.said().term > term;
        wait("a successor", || self.all.iter().any(leads));
        let leader = self.all.iter().position(leads).unwrap();
        (leader, self.all[leader].said().leading_at.unwrap())
    }
}

pub fn wait(what: &str, condition: impl FnMut() -> bool) {
    eventually::holds(what, SOON, condition);
}

/// Not a test by itself: the process that others run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by other tests"]
async fn a_member() {
    let Ok(told) = env::var(TOLD) else { return };
    if env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let logs = tracing_subscriber::fmt().with_env_filter(filter);
        logs.with_ansi(false).with_writer(std::io::stderr).init();
    }
    let told: Told = serde_json::from_str(&told).unwrap();
    let tls = told.tls.map(|dir| tls::load(&dir, &told.member.name));
    let options = NodeOptions {
        dir: told.dir,
        member: told.member.clone(),
        timing: Timing::from_failover_ms(told.failover_ms).unwrap().into(),
        snapshot: SNAPSHOTS,
        lock_wait: Duration::from_secs(10),
        tls: tls.as_ref().map(|tls| tls.connector()),
    };
    let mode = told
        .join
        .map_or(NodeStartMode::Bootstrap, NodeStartMode::Join);
    let listener = listen(&told.member.peer).await;
    let node = Node::start(options, mode, Counting::new(View::default()));
    let node = node.await.unwrap();
    let server = quorate_raft::peer_server().add_routes(node.routes());
    let incoming = PeerIncoming::new(listener, tls.map(|tls| tls.peer_acceptor()));
    tokio::spawn(server.serve_with_incoming(incoming));
    tokio::spawn(news(node.clone()));
    let mut orders = AsyncBufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(order)) = orders.next_line().await {
        let node = node.clone();
        tokio::spawn(async move {
            let (verb, rest) = order.split_once(' ').unwrap();
            let deadline = Instant::now() + SOON;
            let answer = match verb {
                "admit" => {
                    let newcomer = serde_json::from_str(rest).unwrap();
                    let admission = node.admit(newcomer, deadline).await.unwrap();
                    serde_json::to_string(&admission).unwrap()
                }
                "write" => match node
                    .propose(write(rest.parse().unwrap(), b""), deadline)
                    .await
                {
                    Ok(done) => format!("done {}", done.index),
                    Err(e) => e.to_string(),
                },
                _ => match node.transfer(rest.parse().ok(), deadline).await {
                    Ok(leader) => format!("handed {leader}"),
                    Err(e) => e.to_string(),
                },
            };
            say(&format!("answer {answer}"));
        });
    }
}

/// Says what changes; ends with the process that listens.
async fn news(node: Node) {
    let (mut leadership, mut silent) = (node.leadership(), node.unreachable_members());
    let mut members = node.watch_members();
    let mut last = String::new();
    loop {
        let seen = *leadership.borrow_and_update();
        let missing = format!("{:?}", **silent.borrow_and_update()).replace(' ', "");
        let voters = members.borrow_and_update().clone();
        let voters = voters
            .iter()
            .filter(|m| m.role == quorate_types::Role::Voter);
        let reason = seen
            .election
            .map_or("-".to_owned(), |e| e.reason.to_string());
        let missing = missing.replace('{', "[").replace('}', "]");
        let news = format!(
            "news {} {} {} {} {reason} {missing} {}",
            seen.me,
            seen.term,
            seen.leader.unwrap_or_default(),
            seen.leading,
            voters.count()
        );
        if news != last {
            say(&news);
            last = news;
        }
        let changed = tokio::select! {
            changed = leadership.changed() => changed,
            changed = silent.changed() => changed,
            changed = members.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn say(line: &str) {
    // In front of it may stand what the test's runner says.
    let mut out = std::io::stdout().lock();
    if write!(out, "\n{line}\n")
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}
