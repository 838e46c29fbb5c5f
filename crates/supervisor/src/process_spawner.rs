//! Starter of connector processes, one thread for all of them.
//!
//! 1. A process asks the kernel to kill it when the thread that started it ends (PDEATHSIG), so
//!    that thread has to live as long as the member: a runtime's worker thread may not.
//! 2. A process is ended by its parent, never by a signal that was meant for the parent: a signal
//!    to the member's group or to all its processes (Ctrl-C, systemd's `control-group`) would cut
//!    off what is in flight, which the member finishes first. So each process is in a group of its
//!    own, and the signals that others send are blocked in the thread that starts it and thereby,
//!    from its first moment on, in all its threads.
//! 3. A start takes a permit, which a process gives back with its first heartbeat. A thousand at
//!    once would keep every processor busy for seconds, and this member's own heartbeats would come
//!    too late: no reign outlives that.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::{SigSet, Signal};
use quorate_ipc::{LocalRules, PROCESS_ARGUMENT, local_rules::RULES_VARIABLE as LOCAL_RULES};
use quorate_log::LogSettings;
use quorate_planted::{Mutant, planted};
use quorate_types::EffectiveTiming;
use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
};

use super::{connector_spec::ConnectorKey, process_environment::handed_on, silence};

/// Stack of a process's threads, which takes no memory before it is used. Broker libraries read by
/// recursion: an AMQP header holds 26,000 nested arrays, and anyone who may send to a queue could
/// end the process by one.
const STACK_BYTES: usize = 128 << 20;

/// Signals that are not for a connector process: they ask its member to end, or come from the
/// terminal that the member was started at.
const BLOCKED_SIGNALS: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Request to start one process.
struct SpawnRequest {
    key: ConnectorKey,
    control: OwnedFd,
    lease: OwnedFd,
    heartbeat: Duration,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Right to start a process, and to keep a processor busy until its first heartbeat.
pub(crate) struct StartPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Starter of connector processes.
pub(crate) struct ProcessSpawner {
    requests: mpsc::Sender<SpawnRequest>,
    start_permits: Arc<Semaphore>,
    /// Number of incarnations so far.
    incarnations: AtomicU64,
}

impl ProcessSpawner {
    /// Starts the thread. `program` is run with [`MARK`] as its first argument. Once its lease is
    /// revoked a process has one lease, by the `timing` at its start, to leave its broker. `rules`
    /// are what this host allows it; its log is written by the settings `log`. Of this process's
    /// environment it has what [`handed_on`] says.
    pub(crate) fn start(
        program: PathBuf,
        timing: watch::Receiver<EffectiveTiming>,
        rules: &LocalRules,
        log: &LogSettings,
    ) -> io::Result<ProcessSpawner> {
        let variables: Vec<_> = std::env::vars_os().collect();
        let more = rules.process.environment.clone();
        let rules = serde_json::to_string(rules)?;
        let log = log.environment();
        let (requests, mut received) = mpsc::channel::<SpawnRequest>(64);
        let runtime = Handle::current();
        thread::Builder::new()
            .name("connector-spawner".to_owned())
            .spawn(move || {
                let alone = !planted(Mutant::ChildTakesParentsSignals);
                if alone && let Err(error) = SigSet::from_iter(BLOCKED_SIGNALS).thread_block() {
                    tracing::error!(%error, "connector processes can't be kept from signals");
                }
                while let Some(request) = received.blocking_recv() {
                    let SpawnRequest {
                        key,
                        control,
                        lease,
                        heartbeat,
                        reply,
                    } = request;
                    let _inside = runtime.enter();
                    let mut command = Command::new(&program);
                    if alone {
                        command.process_group(0);
                    }
                    let child = command
                        .arg(PROCESS_ARGUMENT)
                        .arg(key.to_string())
                        .arg(std::process::id().to_string())
                        .arg(heartbeat.as_millis().to_string())
                        .arg(silence(&timing).as_millis().to_string())
                        .env_clear()
                        .envs(
                            handed_on(&variables, key.kind, &more)
                                .map(|(name, value)| (name, value)),
                        )
                        .env("RUST_MIN_STACK", STACK_BYTES.to_string())
                        .envs(log.iter().map(|(name, value)| (*name, value)))
                        .env(LOCAL_RULES, &rules)
                        // Everything else that is open is closed on exec.
                        .stdin(Stdio::from(control))
                        .stdout(Stdio::from(lease))
                        .stderr(Stdio::inherit())
                        .kill_on_drop(true)
                        .spawn();
                    // When nothing waits for the process any more it is dropped, hence killed.
                    let _ = reply.send(child);
                }
            })?;
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Ok(ProcessSpawner {
            requests,
            start_permits: Arc::new(Semaphore::new(processors)),
            incarnations: AtomicU64::new(0),
        })
    }

    /// Waits for a permit to start a process: as many at a time as there are processors, in the
    /// order of the requests. Cancel safe.
    pub(crate) async fn acquire_start_permit(&self) -> StartPermit {
        // An error means that the semaphore is closed, which nothing does.
        StartPermit {
            _permit: self.start_permits.clone().acquire_owned().await.ok(),
        }
    }

    /// Returns the number of the next process of this member, from 1, never repeated.
    pub(crate) fn next_incarnation(&self) -> u64 {
        self.incarnations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Starts a process with this lease page, which sends a heartbeat every `heartbeat`. Returns it
    /// and the parent's end of its control socket.
    pub(crate) async fn spawn(
        &self,
        key: &ConnectorKey,
        lease: OwnedFd,
        heartbeat: Duration,
    ) -> io::Result<(Child, tokio::net::UnixStream)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        let (reply, child) = oneshot::channel();
        let request = SpawnRequest {
            key: key.clone(),
            control: far.into(),
            lease,
            heartbeat,
            reply,
        };
        let no_thread = || io::Error::other("the thread that starts processes is gone");
        self.requests.send(request).await.map_err(|_| no_thread())?;
        let child = child.await.map_err(|_| no_thread())??;
        Ok((child, tokio::net::UnixStream::from_std(near)?))
    }
}
