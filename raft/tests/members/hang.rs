//! A member whose disk takes nothing for longer than the failover promise, and refuses nothing
//! either.
//!
//! The thread that writes its log is held by a debugger's means: all the others of that member
//! go on, as they do when a disk hangs.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use quorate_clock::Instant;
use quorate_raft::NodeStartMode;

use crate::group::{Group, until};

const TOLD: &str = "QUORATE_TEST_HELD_THREAD";

/// The threads of this process that write a log.
fn flushers() -> BTreeSet<i32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let flushing = tasks.map(Result::unwrap).filter(|task| {
        let name = fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.trim() == "log-flusher")
    });
    let ids = flushing.map(|task| task.file_name().to_str().unwrap().parse().unwrap());
    ids.collect()
}

/// A thread that stands still until this is dropped.
struct HeldThread {
    holder: Child,
    /// Nobody reads on, but whoever writes there must not fail.
    _said: BufReader<ChildStdout>,
}

impl HeldThread {
    /// Nobody may hold a thread of its own process: another does.
    fn hold(thread: i32) -> HeldThread {
        let mut holder = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "hang::a_holder"])
            .env(TOLD, thread.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(holder.stdout.take().unwrap());
        let mut lines = said.by_ref().lines().map_while(Result::ok);
        let held = lines.any(|line| line == "held");
        assert!(held, "thread {thread} could not be held");
        HeldThread {
            holder,
            _said: said,
        }
    }
}

impl Drop for HeldThread {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Not a test by itself: the process that holds a thread of another.
#[test]
#[ignore = "run by other tests"]
fn a_holder() {
    let Ok(thread) = env::var(TOLD) else { return };
    let thread = Pid::from_raw(thread.parse().unwrap());
    ptrace::seize(thread, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(thread).unwrap();
    waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
    println!("\nheld");
    // Until whoever wants it held closes this or is gone; it runs on with the end of this.
    let _ = std::io::stdin().lines().next();
}

/// Of four one's disk hangs, and the leader doesn't reach another: it can commit nothing, and
/// the third can, once the leader lets it. So the one that takes nothing down may not keep the
/// leader's lease alive by answering its heartbeats.
#[tokio::test]
async fn member_without_disk_keeps_no_leader_in_office() {
    let mut group = Group::start(4, 500).await;
    let leader = group.settled().await;
    let [hung, lost, next] = group.followers(leader)[..] else {
        panic!("four members have three followers");
    };
    let others = flushers();
    group.all[hung].kill();
    until("its log is written by nobody", || {
        flushers().len() < others.len()
    })
    .await;
    let others = flushers();
    group.all[hung].start(NodeStartMode::Resume).await;
    let flusher = *flushers().difference(&others).next().unwrap();
    assert_eq!(group.settled().await, leader, "the others have led on");
    group.all[leader].write(1).await.unwrap();
    group.same().await;

    let held = HeldThread::hold(flusher);
    // The other three are a quorum while the leader reaches them.
    group.all[leader].write(2).await.unwrap();
    group.cut(leader, lost, true);
    let since = Instant::now();
    until("the one that has a quorum leads", || {
        group.all[next].leading()
    })
    .await;
    println!("the next leads after {:?}", since.elapsed());
    group.all[next].write(3).await.unwrap();
    println!("and writes after {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(5));

    drop(held);
    group.cut(leader, lost, false);
    group.settled().await;
    group.same().await;
}
