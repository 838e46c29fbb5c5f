//! openraft alone: members in this process, and links between them that can be cut or slow.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use openraft::{
    BasicNode, Config, Instant as _, OptionalSend, RaftMetrics, TokioInstant,
    async_runtime::watch::WatchReceiver,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, RaftNetworkFactory, RaftNetworkV2},
};
use parking_lot::Mutex;
use quorate_clock::Instant;

use crate::disk::{Bare, Disk, Echo, Vote};

pub type Raft = openraft::Raft<Bare, Echo>;
type AppendRequest = openraft::raft::AppendEntriesRequest<Bare>;
type AppendResponse = openraft::raft::AppendEntriesResponse<Bare>;
type VoteRequest = openraft::raft::VoteRequest<Bare>;
type VoteResponse = openraft::raft::VoteResponse<Bare>;
type Snapshot = openraft::alias::SnapshotOf<Bare, ()>;
type SnapshotResponse = openraft::raft::SnapshotResponse<Bare>;

/// For whatever should happen soon.
const SOON: Duration = Duration::from_secs(20);

/// What happens on the links.
#[derive(Default)]
pub struct Traffic {
    members: BTreeMap<u64, Raft>,
    /// Whom nobody reaches and who reaches nobody.
    pub cut: BTreeSet<u64>,
    /// How long the answer to an append takes.
    pub answer_takes: Duration,
    /// The requests for votes, and whether each had the transfer flag.
    pub asked: Vec<(u64, bool)>,
}

#[derive(Clone, Default)]
pub struct Links(pub Arc<Mutex<Traffic>>);

/// Members that never campaign or beat of their own accord.
pub struct Group {
    pub links: Links,
    pub disks: BTreeMap<u64, Disk>,
}

/// As the crate's own where it counts; the lease is long, so that it surely runs in a test.
pub fn config() -> Config {
    Config {
        heartbeat_interval: 2_000,
        election_timeout_min: 20_000,
        election_timeout_max: 30_000,
        enable_tick: false,
        enable_leader_restore: Some(false),
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
}

impl Group {
    /// Members 1 to 3, of whom 1 leads.
    pub async fn led_by_one() -> Group {
        Group::led_by_one_with(config).await
    }

    /// Likewise, with another configuration.
    pub async fn led_by_one_with(config: impl Fn() -> Config) -> Group {
        let group = Group {
            links: Links::default(),
            disks: (1..=3).map(|id| (id, Disk::default())).collect(),
        };
        for id in 1..=3 {
            group.start(id, config()).await;
        }
        let members = (1..=3).map(|id| (id, BasicNode::new("")));
        let members: BTreeMap<_, _> = members.collect();
        group.raft(1).initialize(members).await.unwrap();
        // It takes writes once a quorum has answered it.
        until("member 1 leads", || {
            group.seen(1).last_quorum_acked.is_some()
        })
        .await;
        group.write(1, "first").await.unwrap();
        group.applied_by(&[1, 2, 3]).await;
        group
    }

    /// Starts a member on its disk.
    pub async fn start(&self, id: u64, config: Config) {
        let (links, disk) = (self.links.clone(), self.disks[&id].clone());
        let links = Outgoing { from: id, links };
        let raft = Raft::new(id, Arc::new(config), links, disk, Echo::default());
        let raft = raft.await.unwrap();
        self.links.0.lock().members.insert(id, raft);
    }

    pub fn raft(&self, id: u64) -> Raft {
        self.links.0.lock().members[&id].clone()
    }

    pub fn seen(&self, id: u64) -> RaftMetrics<Bare> {
        self.raft(id).metrics().borrow_watched().clone()
    }

    pub fn vote(&self, id: u64) -> Vote {
        self.seen(id).vote
    }

    pub async fn write(&self, at: u64, command: &str) -> Result<(), String> {
        let written = self.raft(at).client_write(command.to_owned()).await;
        written.map(drop).map_err(|e| e.to_string())
    }

    /// Waits until each of `members` has applied what the first of them, the leader, has; a
    /// heartbeat tells them that it is committed. None is under way any more then: one that
    /// comes to a member with a later vote ends the leader.
    pub async fn applied_by(&self, members: &[u64]) {
        let leader = members[0];
        let wanted = self.seen(leader).last_applied;
        let began = TokioInstant::now();
        self.raft(leader).trigger().heartbeat().await.unwrap();
        let answered = |id: u64| {
            let seen = self.seen(leader);
            let answered = seen.heartbeat.and_then(|it| it.get(&id).copied().flatten());
            id == leader || answered.is_some_and(|at| at.into_inner() >= began)
        };
        let all = || {
            members
                .iter()
                .all(|id| self.seen(*id).last_applied >= wanted && answered(*id))
        };
        until("all have applied it", all).await;
    }
}

/// Waits for a condition that should come true soon.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

struct Outgoing {
    from: u64,
    links: Links,
}

impl RaftNetworkFactory<Bare> for Outgoing {
    type Network = Link;

    async fn new_client(&mut self, to: u64, _member: &BasicNode) -> Link {
        Link {
            from: self.from,
            to,
            links: self.links.clone(),
        }
    }
}

struct Link {
    from: u64,
    to: u64,
    links: Links,
}

impl Link {
    fn peer(&self) -> Result<Raft, RPCError<Bare>> {
        let traffic = self.links.0.lock();
        let cut = [self.from, self.to]
            .iter()
            .any(|id| traffic.cut.contains(id));
        let peer = traffic.members.get(&self.to).filter(|_| !cut);
        peer.cloned().ok_or_else(|| failed("cut"))
    }
}

fn failed(why: impl ToString) -> RPCError<Bare> {
    RPCError::Unreachable(Unreachable::from_string(why))
}

impl RaftNetworkV2<Bare> for Link {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        request: AppendRequest,
        _option: RPCOption,
    ) -> Result<AppendResponse, RPCError<Bare>> {
        let peer = self.peer()?;
        let takes = self.links.0.lock().answer_takes;
        let answer = peer.append_entries(request).await.map_err(failed)?;
        tokio::time::sleep(takes).await;
        self.peer().map(|_| answer)
    }

    async fn vote(
        &mut self,
        request: VoteRequest,
        _option: RPCOption,
    ) -> Result<VoteResponse, RPCError<Bare>> {
        let peer = self.peer()?;
        let asked = (self.from, request.leadership_transfer);
        self.links.0.lock().asked.push(asked);
        peer.vote(request).await.map_err(failed)
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<Bare>> {
        Err(failed("no snapshots here").into())
    }
}
