//! HAProxy as a child that never outlives us, and that only we end.
//!
//! SIGTERM and SIGINT end HAProxy at once, with all requests that run. Whoever ends a service
//! by signalling all of its processes, as systemd does unless told otherwise, would cut them
//! off, while we let them finish. So it is started with both ignored, which HAProxy leaves as
//! it is; we end it by SIGUSR1, after which it finishes what it has, or by SIGKILL.
//!
//! The kernel is told to end the child when the thread that started it ends
//! (PR_SET_PDEATHSIG), so one thread starts it and stays until it has ended.

use std::{
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::{SigHandler, Signal, kill, signal},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::{Pid, getppid},
};
use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::sync::{oneshot, watch};

use super::haproxy_log::{LogTail, pass_on};

/// How long the child's last words are waited for after its end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running child. Dropped, it is told to end.
pub(super) struct HaproxyProcess {
    /// None once it has been reaped: its number may belong to another process then.
    child: Arc<Mutex<Option<Pid>>>,
    ended: watch::Receiver<Option<String>>,
    tail: LogTail,
}

impl HaproxyProcess {
    /// Starts the child. What it says on stderr goes to our log.
    pub(super) async fn start(mut command: Command) -> io::Result<HaproxyProcess> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal is for us; we end it in our own order.
            .process_group(0);
        end_with_this_process(&mut command);

        let (started_tx, started) = oneshot::channel();
        let (ended_tx, ended) = watch::channel(None);
        let child = Arc::new(Mutex::new(None));
        let tail = LogTail::default();
        let (kept, kept_tail) = (child.clone(), tail.clone());
        thread::Builder::new()
            .name("haproxy-keeper".to_owned())
            .spawn(move || match command.spawn() {
                Ok(running) => {
                    *kept.lock() = Some(pid_of(&running));
                    let _ = started_tx.send(Ok(()));
                    let how = keep(running, &kept, kept_tail);
                    let _ = ended_tx.send(Some(how));
                }
                Err(e) => {
                    let _ = started_tx.send(Err(e));
                }
            })?;
        started
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it has failed")))?;
        Ok(HaproxyProcess { child, ended, tail })
    }

    /// Its number, unless it has ended.
    pub(super) fn pid(&self) -> Option<Pid> {
        *self.child.lock()
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.child.lock() {
            // It has not been reaped, so the number is its own.
            let _ = kill(pid, signal);
        }
    }

    /// Waits for the end and tells how it came about.
    pub(super) async fn ended(&mut self) -> String {
        match self.ended.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "the thread that keeps it has failed".to_owned(),
        }
    }

    /// What it said last.
    pub(super) fn explain(&self) -> String {
        self.tail.explain()
    }
}

impl Drop for HaproxyProcess {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Waits for the end, then reaps under the lock, so that no signal goes to a stranger.
fn keep(mut child: Child, kept: &Mutex<Option<Pid>>, tail: LogTail) -> String {
    let reader = child.stderr.take().and_then(|stderr| {
        thread::Builder::new()
            .name("haproxy-log".to_owned())
            .spawn(move || pass_on(stderr, &tail))
            .ok()
    });
    while let Err(nix::Error::EINTR) = waitid(
        Id::Pid(pid_of(&child)),
        WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
    ) {}
    let mut pid = kept.lock();
    let status = child.wait();
    *pid = None;
    drop(pid);
    // What it said last explains its end.
    let deadline = Instant::now() + LAST_WORDS;
    while reader.as_ref().is_some_and(|reader| !reader.is_finished()) && Instant::now() < deadline {
        thread::sleep(LAST_WORDS / 50);
    }
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("it ended with exit code {code}"),
            (_, Some(signal)) => match Signal::try_from(signal) {
                Ok(signal) => format!("it was ended by {signal}"),
                Err(_) => format!("it was ended by signal {signal}"),
            },
            _ => "it ended".to_owned(),
        },
        Err(e) => format!("it can't be waited for: {e}"),
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("invariant: a process id fits in pid_t"))
}

/// Has the kernel end the child when this thread ends, however it ends, and keeps from it what
/// others send.
// `pre_exec` is unsafe because what runs between fork and exec must not take locks or
// allocate: these are a few system calls and nothing else.
#[allow(unsafe_code)]
fn end_with_this_process(command: &mut Command) {
    let parent = Pid::this();
    // SAFETY: prctl, sigaction, getppid and the construction of an error from a number neither
    // allocate nor lock; nothing else is touched in the child. No handler is installed: to
    // ignore a signal runs no code of ours.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            signal(Signal::SIGTERM, SigHandler::SigIgn)?;
            signal(Signal::SIGINT, SigHandler::SigIgn)?;
            if getppid() != parent {
                // The parent died before the kernel knew of our wish.
                return Err(nix::Error::ESRCH.into());
            }
            Ok(())
        });
    }
}
