use parking_lot::Mutex;
use quorate_types::Timing;
use tokio::time::timeout;

use super::{super::connectors_view::Reign, *};

const ME: MemberId = 2;

/// A log that answers as it is told to.
struct ProposerLog {
    view: watch::Sender<Arc<ConnectorsView>>,
    script: Mutex<Vec<ProposerScript>>,
    proposals: Mutex<Vec<u64>>,
    releases: Mutex<Vec<u64>>,
    /// What becomes of a release.
    fate: Mutex<ScriptedOutcome>,
}

#[derive(Clone, Copy)]
enum ProposerScript {
    Apply(u64),
    Unknown,
}

#[derive(Clone, Copy, Default)]
enum ScriptedOutcome {
    #[default]
    Applied,
    /// It may be applied later.
    Unknown,
}

impl ProposerLog {
    fn reign(&self, epoch: u64, term: u64, released: bool) {
        let reign = Reign {
            holder: Some(ME),
            epoch,
            term,
            released,
            ..Reign::default()
        };
        self.view.send_modify(|view| {
            *view = Arc::new(ConnectorsView {
                reign,
                ..ConnectorsView::clone(view)
            })
        });
    }
}

#[async_trait]
impl CommandProposer for ProposerLog {
    async fn take_over(&self, _: MemberId, term: u64, _: Instant) -> Result<(), ProposeError> {
        self.proposals.lock().push(term);
        match self.script.lock().pop() {
            Some(ProposerScript::Apply(epoch)) => {
                self.reign(epoch, term, false);
                Ok(())
            }
            Some(ProposerScript::Unknown) => Err(ProposeError::Unknown("cut off".into())),
            None => Err(ProposeError::Refused("not now".into())),
        }
    }

    async fn release(&self, term: u64, epoch: u64, _: Instant) -> Result<(), ProposeError> {
        self.releases.lock().push(epoch);
        match *self.fate.lock() {
            ScriptedOutcome::Applied => self.reign(epoch, term, true),
            ScriptedOutcome::Unknown => return Err(ProposeError::Unknown("cut off".into())),
        }
        Ok(())
    }

    async fn record_broker_connections(
        &self,
        _: MemberId,
        _: ConnectionsByConnector,
        _: Instant,
    ) -> Result<(), ProposeError> {
        Ok(())
    }

    async fn advance(
        &self,
        _: u64,
        _: Vec<state::ConnectorProgress>,
        _: Instant,
    ) -> Result<(), ProposeError> {
        Ok(())
    }

    async fn record_takeover(&self, _: state::Takeover, _: Instant) -> Result<(), ProposeError> {
        panic!("only the takeover recorder explains")
    }
}

struct ReignWorld {
    log: Arc<ProposerLog>,
    page: Arc<LeaseWriter>,
    leadership: watch::Sender<Leadership>,
    status: watch::Receiver<ReignStatus>,
    release_requests: mpsc::Sender<ReleaseRequest>,
}

impl ReignWorld {
    /// `script`: what the proposals come to, the last first.
    fn new(script: &[ProposerScript]) -> ReignWorld {
        let (view_sender, view) = watch::channel(Arc::default());
        let log = Arc::new(ProposerLog {
            view: view_sender,
            script: Mutex::new(script.to_vec()),
            proposals: Mutex::default(),
            releases: Mutex::default(),
            fate: Mutex::default(),
        });
        let page = Arc::new(LeaseWriter::new().unwrap());
        let (leadership, leaderships) = watch::channel(Leadership {
            me: ME,
            ..Default::default()
        });
        let (status_sender, status) = watch::channel(ReignStatus::default());
        let (release_requests, leavers_received) = mpsc::channel(1);
        // As a supervisor of no process.
        let (rested_sender, drained) = watch::channel(0);
        let mut statuses = status.clone();
        tokio::spawn(async move {
            while statuses.changed().await.is_ok() {
                if let Some(rest) = statuses.borrow_and_update().drain {
                    rested_sender.send_replace(rest.number);
                }
            }
        });
        let reigning = ReignDriver {
            me: ME,
            timing: watch::channel(Timing::from_failover_ms(10_000).unwrap().into()).1,
            page: page.clone(),
            proposer: log.clone(),
            leadership: leaderships,
            view,
            status: status_sender,
            lapses: LapseTracker::new(watch::Sender::default()),
            drained,
            release_requests: leavers_received,
        };
        tokio::spawn(reigning.run());
        ReignWorld {
            log,
            page,
            leadership,
            status,
            release_requests,
        }
    }

    /// Lets go; what it is for lasts until the sender is dropped.
    async fn leave(&self, for_good: bool) -> oneshot::Sender<()> {
        let (done, released) = oneshot::channel();
        let (guard, withdrawn) = oneshot::channel();
        let request = ReleaseRequest {
            drain: Duration::from_secs(5),
            for_good,
            done,
            withdrawn,
        };
        assert!(self.release_requests.send(request).await.is_ok());
        timeout(Duration::from_secs(10), released)
            .await
            .expect("it does not let go")
            .unwrap();
        guard
    }

    /// Rounds go on until the page lets an epoch above this one act. It never lets this one
    /// act meanwhile.
    async fn acts_above(&self, epoch: u64, term: u64) -> u64 {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            self.lead(term);
            let lease = self.page.reader().read();
            if lease.epoch > epoch && lease.deadline.is_some() {
                return lease.epoch;
            }
            assert!(!self.page.reader().holds(epoch), "{epoch} was let go of");
            assert!(Instant::now() < end, "it takes over no more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn lead(&self, term: u64) {
        self.leadership.send_modify(|it| {
            *it = Leadership {
                me: ME,
                term,
                leader: Some(ME),
                leading: true,
                heard_at: Some(Instant::now()),
                lease: Timing::from_failover_ms(10_000).unwrap().lease,
                lease_clear_at: Some(Instant::now()),
                election: None,
            };
        });
    }

    fn lose(&self) {
        self.leadership.send_modify(|it| it.leading = false);
    }

    async fn acting(&mut self, acting: bool) -> ReignStatus {
        let waiting = self.status.wait_for(|status| status.acting == acting);
        *timeout(Duration::from_secs(10), waiting)
            .await
            .expect("the standing did not change")
            .unwrap()
    }

    /// A stamp taken just after the task began may be older than its first sample, as in
    /// life: then the next round counts.
    async fn acts(&mut self, term: u64) -> ReignStatus {
        let beats = async {
            loop {
                self.lead(term);
                tokio::time::sleep(Duration::from_millis(5)).await;
                if self.status.borrow().acting {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(10), beats)
            .await
            .expect("it does not act");
        *self.status.borrow()
    }
}

#[tokio::test]
async fn reign_grants_the_page_and_loss_revokes() {
    let mut world = ReignWorld::new(&[ProposerScript::Apply(5)]);
    assert_eq!(world.acts(1).await.epoch, 5);
    assert!(world.page.reader().holds(5));
    world.lose();
    world.acting(false).await;
    assert!(!world.page.reader().holds(5));
    assert_eq!(
        world.acts(1).await.epoch,
        5,
        "kept in the same term: the same epoch"
    );
    assert_eq!(*world.log.proposals.lock(), [1]);
}

#[tokio::test]
async fn elected_again_gets_a_new_epoch() {
    let mut world = ReignWorld::new(&[ProposerScript::Apply(9), ProposerScript::Apply(5)]);
    assert_eq!(world.acts(1).await.epoch, 5);
    world.lose();
    world.acting(false).await;
    assert_eq!(world.acts(3).await.epoch, 9);
    assert!(world.page.reader().holds(9) && !world.page.reader().holds(5));
    assert_eq!(*world.log.proposals.lock(), [1, 3]);
}

#[tokio::test]
async fn unknown_outcome_that_applies_becomes_the_reign() {
    let mut world = ReignWorld::new(&[ProposerScript::Unknown]);
    world.lead(4);
    while world.log.proposals.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!world.status.borrow().acting);
    world.log.reign(7, 4, false);
    assert_eq!(world.acts(4).await.epoch, 7);
    assert_eq!(
        *world.log.proposals.lock(),
        [4],
        "proposed again after an unknown outcome"
    );
}

#[tokio::test]
async fn lease_not_renewed_ends_acting() {
    let mut world = ReignWorld::new(&[ProposerScript::Apply(5)]);
    world.acts(1).await;
    // The stamp of a round sent long ago: the lease from there is over by now.
    world
        .leadership
        .send_modify(|it| it.heard_at = it.heard_at.map(|at| at - Duration::from_secs(60)));
    world.acting(false).await;
}

#[tokio::test]
async fn letting_go_revokes_and_commits_the_release() {
    let mut world = ReignWorld::new(&[ProposerScript::Apply(5)]);
    world.acts(1).await;
    drop(world.leave(true).await);
    assert_eq!(*world.log.releases.lock(), [5]);
    assert!(!world.page.reader().holds(5));
    for term in [1, 2] {
        world.lead(term);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(*world.log.proposals.lock(), [1], "it let go for good");
}

/// The release may commit at any time from its proposal on, and a successor that has it waits
/// for no lease: so none of its epoch is ever granted again.
// guarantee: REIGN-4, FENCE-8
#[tokio::test]
async fn epoch_with_unknown_release_outcome_never_acts_again() {
    let mut world = ReignWorld::new(&[ProposerScript::Apply(9), ProposerScript::Apply(5)]);
    world.acts(1).await;
    *world.log.fate.lock() = ScriptedOutcome::Unknown;
    let guard = world.leave(false).await;
    world.lead(1);
    assert!(!world.page.reader().holds(5));
    assert_eq!(
        *world.log.proposals.lock(),
        [1],
        "the leadership is moved now"
    );
    // The transfer is refused.
    drop(guard);
    assert_eq!(world.acts_above(5, 1).await, 9);
    assert_eq!(*world.log.proposals.lock(), [1, 1]);
}

#[tokio::test]
async fn concurrent_transfers_release_once_and_end_together() {
    let mut world = ReignWorld::new(&[ProposerScript::Apply(9), ProposerScript::Apply(5)]);
    world.acts(1).await;
    let (first, second) = tokio::join!(world.leave(false), world.leave(false));
    assert_eq!(*world.log.releases.lock(), [5]);
    drop(first);
    for _ in 0..10 {
        world.lead(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        *world.log.proposals.lock(),
        [1],
        "the other one is under way"
    );
    drop(second);
    assert_eq!(world.acts_above(5, 1).await, 9);
}

/// How long the release of a reign takes that began when earlier leases ran for that long.
async fn release_after(left: Duration, clear: bool) -> Duration {
    let mut world = ReignWorld::new(&[ProposerScript::Apply(5)]);
    world.acts(1).await;
    let clear_at = Instant::now() + left;
    world
        .leadership
        .send_modify(|it| it.lease_clear_at = Some(clear_at));
    world.log.view.send_modify(|view| {
        let reign = Reign {
            clear,
            ..view.reign
        };
        *view = Arc::new(ConnectorsView {
            reign,
            ..ConnectorsView::clone(view)
        });
    });
    let since = Instant::now();
    let _guard = world.leave(false).await;
    assert_eq!(*world.log.releases.lock(), [5]);
    since.elapsed()
}

/// Who follows a released reign waits for no lease at all, so the release itself must.
// guarantee: FENCE-10
#[tokio::test]
async fn release_waits_for_earlier_leases() {
    let left = Duration::from_millis(400);
    assert!(release_after(left, false).await > left - Duration::from_millis(20));
    assert!(release_after(left, true).await < left);
}
