//! The one thread that starts connector processes.
//!
//! A process asks the kernel to kill it when the thread that started it ends
//! (PDEATHSIG), so that thread has to live as long as the member: a runtime's worker
//! thread may not.
//!
//! A process is ended by its parent, never by a signal that was meant for that one: what is
//! sent to the member's group or to all its processes (Ctrl-C, systemd's `control-group`)
//! would cut off what is in flight, which the member finishes first. So it is in a group of
//! its own, and the signals that others send are blocked in the thread that starts it and
//! thereby, from its first moment on, in all its threads.
//!
//! To start takes a turn, which a process gives back with its first sign of life. A thousand
//! at once would keep every processor busy for seconds, and this member's own heartbeats
//! would come too late: nobody's reign outlives that.

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

use super::{connector_spec::ConnectorKey, silence};

/// The stack of a process's threads, which is not taken before it is used. What a broker's
/// library reads it reads by recursion: a header of AMQP holds 26,000 arrays in each other,
/// and anybody who may send to a queue could end the process by one.
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

/// What a process is started with.
struct SpawnRequest {
    key: ConnectorKey,
    control: OwnedFd,
    lease: OwnedFd,
    alive: Duration,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// The right to start a process, and to keep a processor busy until it has spoken.
pub struct StartPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Starts connector processes.
pub struct ProcessSpawner {
    requests: mpsc::Sender<SpawnRequest>,
    start_permits: Arc<Semaphore>,
    /// How many incarnations were counted.
    incarnations: AtomicU64,
}

impl ProcessSpawner {
    /// Starts the thread. `program` is run with [`MARK`] as its first argument; once its lease
    /// is revoked the process has a lease's time at the `pace` of its start to leave its broker.
    /// The `rules` are what this host allows it; its log is written as `log` says.
    pub fn start(
        program: PathBuf,
        pace: watch::Receiver<EffectiveTiming>,
        rules: &LocalRules,
        log: &LogSettings,
    ) -> io::Result<ProcessSpawner> {
        let rules = serde_json::to_string(rules)?;
        let log = log.environment();
        let (orders, mut received) = mpsc::channel::<SpawnRequest>(64);
        let runtime = Handle::current();
        thread::Builder::new()
            .name("connector-spawner".to_owned())
            .spawn(move || {
                let alone = !planted(Mutant::ChildTakesParentsSignals);
                if alone && let Err(error) = SigSet::from_iter(BLOCKED_SIGNALS).thread_block() {
                    tracing::error!(%error, "connector processes can't be kept from signals");
                }
                while let Some(order) = received.blocking_recv() {
                    let SpawnRequest {
                        key,
                        control,
                        lease,
                        alive,
                        reply,
                    } = order;
                    let _inside = runtime.enter();
                    let mut command = Command::new(&program);
                    if alone {
                        command.process_group(0);
                    }
                    let child = command
                        .arg(PROCESS_ARGUMENT)
                        .arg(key.to_string())
                        .arg(std::process::id().to_string())
                        .arg(alive.as_millis().to_string())
                        .arg(silence(&pace).as_millis().to_string())
                        .env("RUST_MIN_STACK", STACK_BYTES.to_string())
                        .envs(log.iter().map(|(name, value)| (*name, value)))
                        .env(LOCAL_RULES, &rules)
                        // Everything else that is open is closed on exec.
                        .stdin(Stdio::from(control))
                        .stdout(Stdio::from(lease))
                        .stderr(Stdio::inherit())
                        .kill_on_drop(true)
                        .spawn();
                    // Nobody waits for it any more: dropped, hence killed.
                    let _ = reply.send(child);
                }
            })?;
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Ok(ProcessSpawner {
            requests: orders,
            start_permits: Arc::new(Semaphore::new(processors)),
            incarnations: AtomicU64::new(0),
        })
    }

    /// Waits for a turn to start a process: so many at a time as there are processors, in the
    /// order in which they asked. Can be dropped.
    pub async fn acquire_start_permit(&self) -> StartPermit {
        // It fails only once it is closed, which nobody does.
        StartPermit {
            _permit: self.start_permits.clone().acquire_owned().await.ok(),
        }
    }

    /// Counts the processes of this member: a number that none had before, from 1.
    pub fn next_incarnation(&self) -> u64 {
        self.incarnations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Starts a process with this lease page, which gives a sign of life every `alive`.
    /// Returns it and the parent's end of its control socket.
    pub async fn spawn(
        &self,
        key: &ConnectorKey,
        lease: OwnedFd,
        alive: Duration,
    ) -> io::Result<(Child, tokio::net::UnixStream)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        let (reply, child) = oneshot::channel();
        let order = SpawnRequest {
            key: key.clone(),
            control: far.into(),
            lease,
            alive,
            reply,
        };
        let no_thread = || io::Error::other("the thread that starts processes is gone");
        self.requests.send(order).await.map_err(|_| no_thread())?;
        let child = child.await.map_err(|_| no_thread())??;
        Ok((child, tokio::net::UnixStream::from_std(near)?))
    }
}
