//! HAProxy as a child process that never outlives us, and that only we end.
//!
//! SIGTERM and SIGINT end HAProxy at once, with all requests that run. A supervisor that ends a
//! service by signalling all of its processes, as systemd does by default, would cut them off,
//! while we let them finish. So HAProxy is started with both ignored, and leaves them so; we end it
//! by SIGUSR1, after which it finishes the requests that it has, or by SIGKILL.
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

/// The time for which the child's last output is waited for after its end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running child. Dropping this ends it.
pub(super) struct HaproxyProcess {
    /// None once it has been reaped: its number may belong to another process then.
    child: Arc<Mutex<Option<Pid>>>,
    ended: watch::Receiver<Option<String>>,
    tail: LogTail,
}

impl HaproxyProcess {
    /// Starts the child. Its stderr goes to our log.
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

    /// Returns the child's process number, unless it has ended.
    pub(super) fn pid(&self) -> Option<Pid> {
        *self.child.lock()
    }

    /// Sends a signal, unless the child has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.child.lock() {
            // The child has not been reaped, so the number is its own.
            let _ = kill(pid, signal);
        }
    }

    /// Waits for the end and returns its description.
    pub(super) async fn ended(&mut self) -> String {
        match self.ended.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "the thread that keeps it has failed".to_owned(),
        }
    }

    /// Returns the child's last output.
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
    // The last output explains the end.
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

/// Has the kernel end the child when this thread ends, however it ends, and shields it from signals
/// of others.
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
                // The parent died before the kernel had the request.
                return Err(nix::Error::ESRCH.into());
            }
            Ok(())
        });
    }
}
