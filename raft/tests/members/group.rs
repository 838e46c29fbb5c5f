//! A group of members, started, killed and asked.

use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use quorate_clock::Instant;
use quorate_raft::{
    AppliedProposal, Node, NodeOptions, NodeStartMode, PeerIncoming, SnapshotPolicy, StartError,
};
use quorate_testkit::ports;
use quorate_tls::MemberTls;
use quorate_types::{Member, MemberId, ProposeError, ReadError, Role, Timing};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    links::Links,
    machine::{Counting, View, write},
    tls,
};

/// For whatever should happen soon.
pub const SOON: Duration = Duration::from_secs(30);

pub const SNAPSHOTS: SnapshotPolicy = SnapshotPolicy {
    entries: 1_000_000,
    bytes: 1 << 40,
    keep: 1_000,
};

/// One member, running or not.
pub struct One {
    pub member: Member,
    pub view: View,
    pub timing: Timing,
    pub snapshot: SnapshotPolicy,
    dir: TempDir,
    links: Links,
    /// The member's certificate, where the group has TLS.
    pub tls: Option<Arc<MemberTls>>,
    alive: Option<(Runtime, Node)>,
}

impl One {
    /// A member that has never been started, with an address of its own.
    pub fn new(name: &str, failover_ms: u64, links: &Links) -> One {
        let address = |port| format!("127.0.0.1:{port}");
        One {
            member: Member {
                name: name.to_owned(),
                http: address(1),
                admin: address(2),
                peer: address(ports::free()),
            },
            view: View::default(),
            timing: Timing::from_failover_ms(failover_ms).unwrap(),
            snapshot: SNAPSHOTS,
            dir: TempDir::new().unwrap(),
            links: links.clone(),
            tls: tls::if_asked(name),
            alive: None,
        }
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub async fn start(&mut self, mode: NodeStartMode) {
        self.try_start(mode).await.unwrap();
    }

    pub async fn try_start(&mut self, mode: NodeStartMode) -> Result<(), StartError> {
        self.view = View::default();
        let options = NodeOptions {
            dir: self.dir.path().to_owned(),
            member: self.member.clone(),
            timing: self.timing.into(),
            snapshot: self.snapshot,
            lock_wait: Duration::from_secs(30),
            tls: self.tls.as_ref().map(|tls| tls.connector()),
        };
        let acceptor = self.tls.as_ref().map(|tls| tls.peer_acceptor());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (links, me) = (self.links.clone(), self.member.peer.clone());
        let dial = Arc::new(move |_, to: &str| links.dial(&me, to));
        let machine = Counting::new(self.view.clone());
        let starting = runtime.spawn(async move {
            let listener = listen(&options.member.peer).await;
            let node = Node::start_through(options, mode, machine, Some(dial)).await?;
            let server = quorate_raft::peer_server().add_routes(node.routes());
            let incoming = PeerIncoming::new(listener, acceptor);
            tokio::spawn(server.serve_with_incoming(incoming));
            Ok(node)
        });
        match starting.await.unwrap() {
            Ok(node) => {
                self.links.up(&self.member.peer, true);
                self.alive = Some((runtime, node));
                Ok(())
            }
            Err(e) => {
                runtime.shutdown_background();
                Err(e)
            }
        }
    }

    /// As by `kill -9`, but for what the kernel would still write.
    pub fn kill(&mut self) {
        if let Some((runtime, node)) = self.alive.take() {
            self.links.up(&self.member.peer, false);
            drop(node);
            runtime.shutdown_background();
        }
    }

    pub async fn stop(&mut self) {
        if let Some((runtime, node)) = self.alive.take() {
            runtime
                .spawn(async move { node.shutdown().await })
                .await
                .unwrap();
            runtime.shutdown_background();
        }
    }

    pub fn is_up(&self) -> bool {
        self.alive.is_some()
    }

    pub fn node(&self) -> &Node {
        &self.alive.as_ref().unwrap().1
    }

    pub fn id(&self) -> MemberId {
        self.node().id()
    }

    pub fn leading(&self) -> bool {
        self.is_up() && self.node().leadership().borrow().leading
    }

    /// Runs `work` where the member runs, so that it dies with it.
    pub fn run<T, F, W>(&self, work: W) -> BoxFuture<'static, Option<T>>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
        W: FnOnce(Node) -> F,
    {
        let (runtime, node) = self.alive.as_ref().unwrap();
        let task = runtime.spawn(work(node.clone()));
        async move { task.await.ok() }.boxed()
    }

    pub async fn write(&self, key: u64) -> Result<AppliedProposal, ProposeError> {
        self.write_within(key, SOON).await
    }

    pub async fn write_within(
        &self,
        key: u64,
        wait: Duration,
    ) -> Result<AppliedProposal, ProposeError> {
        let command = write(key, b"value");
        let done =
            self.run(move |node| async move { node.propose(command, Instant::now() + wait).await });
        done.await
            .unwrap_or(Err(ProposeError::Unknown("killed".to_owned())))
    }

    pub async fn read(&self) -> Result<u64, ReadError> {
        self.read_within(SOON).await
    }

    pub async fn read_within(&self, wait: Duration) -> Result<u64, ReadError> {
        let deadline = Instant::now() + wait;
        let done = self.run(move |node| async move { node.read_barrier(deadline).await });
        done.await.unwrap()
    }
}

/// Its storage is closed before the test's process may end: RocksDB aborts a process that
/// runs its destructors while a database is being closed.
impl Drop for One {
    fn drop(&mut self) {
        self.kill();
        let Ok(lock) = std::fs::File::open(self.dir.path().join("lock")) else {
            return;
        };
        let deadline = Instant::now() + SOON;
        while lock.try_lock().is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Held by the group that runs: what is measured here must not share the machine.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Members that belong together.
pub struct Group {
    pub all: Vec<One>,
    pub links: Links,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

impl Group {
    /// The first bootstraps, the others join.
    pub async fn start(n: usize, failover_ms: u64) -> Group {
        Group::start_with(n, failover_ms, SNAPSHOTS).await
    }

    pub async fn start_with(n: usize, failover_ms: u64, snapshot: SnapshotPolicy) -> Group {
        Group::start_each(n, failover_ms, |one| one.snapshot = snapshot).await
    }

    /// The same, with each member prepared before its first start.
    pub async fn start_each(n: usize, failover_ms: u64, prepare: impl Fn(&mut One)) -> Group {
        show_logs();
        let alone = ALONE.lock().await;
        let links = Links::new();
        let mut all: Vec<One> = Vec::new();
        for i in 0..n {
            let mut one = One::new(&format!("member-{}", i + 1), failover_ms, &links);
            prepare(&mut one);
            if i == 0 {
                one.start(NodeStartMode::Bootstrap).await;
            } else {
                let newcomer = one.member.clone();
                let asked = all[i - 1].run(move |node| async move {
                    node.admit(newcomer, Instant::now() + SOON).await
                });
                one.start(NodeStartMode::Join(asked.await.unwrap().unwrap()))
                    .await;
            }
            all.push(one);
            let group = &all;
            let voters = within(SOON, || {
                group.iter().all(|one| {
                    let members = one.node().watch_members().borrow().clone();
                    members.len() == i + 1 && members.iter().all(|m| m.role == Role::Voter)
                })
            });
            assert!(voters.await, "not all are voters:\n{}", seen(group));
        }
        let group = Group {
            all,
            links,
            _alone: alone,
        };
        group.settled().await;
        group
    }

    /// Waits until everyone who is up agrees on a leader; returns where it is.
    pub async fn settled(&self) -> usize {
        until("a leader that all agree on", || {
            let leader = self.all.iter().find(|one| one.leading()).map(One::id);
            let up = self.all.iter().filter(|one| one.is_up());
            leader.is_some()
                && up.into_iter().all(|one| {
                    let seen = *one.node().leadership().borrow();
                    seen.leader == leader && seen.heard_at.is_some()
                })
        })
        .await;
        self.leader().unwrap()
    }

    pub fn leader(&self) -> Option<usize> {
        self.all.iter().position(One::leading)
    }

    /// Members that don't lead.
    pub fn followers(&self, leader: usize) -> Vec<usize> {
        (0..self.all.len()).filter(|i| *i != leader).collect()
    }

    /// Cuts one off, or takes it back.
    pub fn silence(&self, i: usize, silent: bool) {
        self.links.silence(&self.all[i].member.peer, silent);
    }

    /// Keeps the links between two from carrying anything, either way, or lets them be.
    pub fn cut(&self, one: usize, other: usize, cut: bool) {
        let peer = |i: usize| &self.all[i].member.peer;
        self.links.silence_one(peer(one), peer(other), cut);
        self.links.silence_one(peer(other), peer(one), cut);
    }

    /// Resets the links between two, or lets them be.
    pub fn reset(&self, one: usize, other: usize, reset: bool) {
        let peer = |i: usize| &self.all[i].member.peer;
        self.links.reset(peer(one), peer(other), reset);
    }

    /// Waits until nobody misses anybody.
    pub async fn all_there(&self) {
        until("everybody hears everybody", || {
            let up = self.all.iter().filter(|one| one.is_up());
            up.into_iter()
                .all(|one| one.node().unreachable_members().borrow().is_empty())
        })
        .await;
    }

    /// Waits until all who are up have the same state.
    pub async fn same(&self) {
        let last = self
            .all
            .iter()
            .filter(|o| o.is_up())
            .map(|o| o.view.applied())
            .max();
        until("all have applied everything", || {
            let up = self.all.iter().filter(|one| one.is_up());
            up.into_iter().all(|one| Some(one.view.applied()) >= last)
        })
        .await;
        let mut up = self.all.iter().filter(|one| one.is_up());
        let first = up.next().unwrap().view.all();
        for one in up {
            assert_eq!(one.view.all(), first, "{}", one.member.name);
        }
    }
}

/// What each member sees, for a test that waits in vain.
fn seen(group: &[One]) -> String {
    let lines = group.iter().map(|one| {
        let node = one.node();
        let leadership = *node.leadership().borrow();
        format!(
            "{leadership:?} {:?} {:?}",
            node.members(),
            node.timing_pressure()
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What the members log, if `RUST_LOG` asks for it.
fn show_logs() {
    use tracing_subscriber::EnvFilter;
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .try_init();
    }
}

/// Listens once whoever was killed there is gone.
pub async fn listen(address: &str) -> TcpListener {
    let deadline = Instant::now() + SOON;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(e) if Instant::now() > deadline => panic!("{address}: {e}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Waits for a condition that should come true soon.
pub async fn until(what: impl Debug, condition: impl FnMut() -> bool) {
    assert!(
        within(SOON, condition).await,
        "waited {SOON:?} for {what:?}"
    );
}

/// Waits for a condition; false when it did not come true in time.
pub async fn within(wait: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + wait;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}
