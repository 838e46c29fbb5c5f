//! From what is declared and who acts to what each channel's keeper is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_clock::Instant;
use quorate_types::{EffectiveTiming, MemberId, MemberList, Role};
use tokio::{sync::watch, time::sleep_until};
use tracing::error;

use super::{
    connector_actor::{ActorContext, ConnectorActor, DesiredConnector},
    connector_spec::{ConnectorKey, ConnectorSpec},
    connectors_view::ConnectorsView,
    reign_status::ReignStatus,
    stale_connections::StaleConnections,
    target_state::{PlacementInputs, TargetState},
};

struct SupervisedConnector {
    desired: watch::Sender<DesiredConnector>,
    observed_generation: watch::Receiver<u64>,
    /// When its keeper was seen to have broken off; another one is started a while later.
    broken_at: Option<Instant>,
}

impl SupervisedConnector {
    /// Whether its last wish, for no process or for a parked one, has been met.
    fn is_at_rest(&self) -> bool {
        *self.observed_generation.borrow() == self.desired.borrow().generation
    }

    fn is_outgoing_or_at_rest(&self) -> bool {
        self.desired.borrow().spec.service.is_none() || self.is_at_rest()
    }
}

/// Between a keeper that broke off and the next.
const ACTOR_RESTART_DELAY: Duration = Duration::from_secs(1);

/// Which processes stand by while this member doesn't act.
#[derive(Clone)]
pub struct StandbyPolicy {
    /// This member.
    pub me: MemberId,
    /// Only voters can be elected.
    pub members: watch::Receiver<MemberList>,
    /// At most so many, in the order of their kinds and names.
    pub processes_max: usize,
    /// The promise: for so long a prepared one waits for its reign.
    pub pace: watch::Receiver<EffectiveTiming>,
}

impl StandbyPolicy {
    fn prepared(&self) -> Duration {
        self.pace.borrow().patience.failover
    }

    fn voter(&mut self) -> bool {
        let members = self.members.borrow_and_update();
        members
            .iter()
            .any(|member| member.id == self.me && member.role == Role::Voter)
    }
}

/// Reconciles.
pub struct ConnectorReconciler {
    shared: Arc<ActorContext>,
    standby_policy: StandbyPolicy,
    view: watch::Receiver<Arc<ConnectorsView>>,
    reign_status: watch::Receiver<ReignStatus>,
    /// For which parting the processes rest.
    drained: watch::Sender<u64>,
    supervised: BTreeMap<ConnectorKey, SupervisedConnector>,
    /// Whether it acted when last looked at, and when it was seen to have stopped.
    acting: bool,
    acted_until: Option<Instant>,
    /// Members that don't answer.
    silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
    /// Who was silent when everybody had had the time to answer the reign of this epoch.
    silent_at_takeover: (u64, BTreeSet<MemberId>),
    /// Its receivers see the end of this.
    _alive: watch::Sender<()>,
}

impl ConnectorReconciler {
    /// Over these watches.
    pub fn new(
        shared: Arc<ActorContext>,
        warmth: StandbyPolicy,
        view: watch::Receiver<Arc<ConnectorsView>>,
        standing: watch::Receiver<ReignStatus>,
        silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
        rested: watch::Sender<u64>,
    ) -> (Self, watch::Receiver<()>) {
        let (alive, lives) = watch::channel(());
        let supervisor = ConnectorReconciler {
            shared,
            standby_policy: warmth,
            view,
            reign_status: standing,
            drained: rested,
            supervised: BTreeMap::new(),
            acting: false,
            acted_until: None,
            silent,
            silent_at_takeover: (0, BTreeSet::new()),
            _alive: alive,
        };
        (supervisor, lives)
    }

    /// Runs until the state is no longer told. Dropped keepers kill their processes.
    pub async fn run(mut self) {
        loop {
            let look_again = self.reconcile();
            tokio::select! {
                changed = self.view.changed() => if changed.is_err() { return },
                changed = self.reign_status.changed() => if changed.is_err() { return },
                changed = self.standby_policy.members.changed() => if changed.is_err() { return },
                () = self.shared.settled.notified() => {}
                () = sleep_until(look_again.unwrap_or_else(Instant::now)), if look_again.is_some() => {}
            }
        }
    }

    /// Asks every keeper for what is wished now. Returns when to look again.
    fn reconcile(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let standing = *self.reign_status.borrow_and_update();
        let view = self.view.borrow_and_update().clone();
        let connectors = &view.connectors;
        if standing.drain.is_some() {
            // Nothing lingers after an orderly end.
            (self.acting, self.acted_until) = (false, None);
        } else if standing.reigns() {
            self.acting = true;
        } else if std::mem::take(&mut self.acting) {
            self.acted_until = Some(now);
        }
        let situation = PlacementInputs {
            channels_drained: self
                .supervised
                .values()
                .all(SupervisedConnector::is_outgoing_or_at_rest),
            reign_status: standing,
            voter: self.standby_policy.voter(),
            prepared: self.standby_policy.prepared(),
            acted_until: self.acted_until,
        };
        let mut look_again = [
            self.replace_broken_actors(now),
            self.note_silent_members(now, standing),
        ]
        .into_iter()
        .flatten()
        .min();
        let mut places = self.standby_policy.processes_max;
        for spec in connectors.values().filter(|spec| spec.active) {
            let warm = spec.warm && places > 0;
            places -= usize::from(warm);
            let (stance, again) = situation.target_state(spec, warm, now);
            look_again = [look_again, again].into_iter().flatten().min();
            if let Some(kept) = self.supervised.get(&spec.key) {
                let remains = self.stale_connections(&view, spec, standing);
                set_desired(kept, Some(spec), stance, remains);
            } else if situation.starts(warm) && stance.needs_process() {
                let (wish, wishes) = watch::channel(DesiredConnector {
                    spec: spec.clone(),
                    target: stance,
                    stale_connections: self.stale_connections(&view, spec, standing),
                    generation: 1,
                });
                let rests = ConnectorActor::start(self.shared.clone(), wishes);
                self.supervised.insert(
                    spec.key.clone(),
                    SupervisedConnector {
                        desired: wish,
                        observed_generation: rests,
                        broken_at: None,
                    },
                );
            }
        }
        for (key, kept) in &self.supervised {
            if !connectors.get(key).is_some_and(|spec| spec.active) {
                let needed = kept.desired.borrow().spec.drain_timeout;
                let drain = standing
                    .drain
                    .map_or(needed, |rest| needed.min(rest.within));
                set_desired(kept, None, TargetState::Stopped(drain), None);
            }
        }
        self.supervised
            .retain(|_, kept| !(kept.desired.borrow().target.is_stopped() && kept.is_at_rest()));

        self.shared
            .heartbeat_interval
            .set_process_count(self.supervised.len());

        if standing.reigns() {
            connectors
                .values()
                .filter(|spec| !spec.active && !self.supervised.contains_key(&spec.key))
                .for_each(|spec| {
                    self.shared.status_registry.paused(&spec.key);
                });
        }
        self.shared.status_registry.retain(|key| {
            self.supervised.contains_key(key) || standing.reigns() && connectors.contains_key(key)
        });
        // What they have said last is written first, if that can be done soon.
        let unwritten = self.shared.progress.wanted_until().filter(|at| *at > now);
        if standing.drain.is_some() {
            look_again = [look_again, unwritten].into_iter().flatten().min();
            if unwritten.is_some() {
                self.shared.progress.hurry();
            }
        }
        if let Some(rest) = standing.drain
            && unwritten.is_none()
            && self
                .supervised
                .values()
                .all(SupervisedConnector::is_at_rest)
        {
            self.drained.send_if_modified(|number| {
                let changed = *number != rest.number;
                *number = rest.number;
                changed
            });
        }
        look_again
    }

    /// A keeper ends only with its wishes. One that broke off has a fault, and its process
    /// has ended with it; it is replaced, but not over and over at once.
    fn replace_broken_actors(&mut self, now: Instant) -> Option<Instant> {
        for (key, kept) in &mut self.supervised {
            if kept.broken_at.is_none() && kept.observed_generation.has_changed().is_err() {
                error!(channel = %key, "the keeper of a connector broke off; another one follows");
                kept.broken_at = Some(now);
            }
        }
        let until = |kept: &SupervisedConnector| kept.broken_at.map(|at| at + ACTOR_RESTART_DELAY);
        self.supervised
            .retain(|_, kept| until(kept).is_none_or(|at| now < at));
        self.supervised.values().filter_map(until).min()
    }

    /// Looks once in each reign who is silent, when all have had the time to answer it, so
    /// that a member that falls silent later keeps its connections. Returns when to look.
    fn note_silent_members(&mut self, now: Instant, standing: ReignStatus) -> Option<Instant> {
        if !standing.reigns() || self.silent_at_takeover.0 == standing.epoch {
            return None;
        }
        let at = standing.clear_at? + self.standby_policy.prepared();
        if now < at {
            return Some(at);
        }
        self.silent_at_takeover = (standing.epoch, BTreeSet::clone(&self.silent.borrow()));
        None
    }

    /// What others have left at the channel's broker: the holder before this one, if it did
    /// not let go, and who is silent. Known once it is known from when on it may be closed.
    fn stale_connections(
        &self,
        view: &ConnectorsView,
        spec: &ConnectorSpec,
        standing: ReignStatus,
    ) -> Option<StaleConnections> {
        let reign = view.reign;
        if !standing.reigns() || standing.epoch != reign.epoch {
            return None;
        }
        spec.management.as_ref()?;
        let former = reign.former.filter(|_| !reign.clear);
        let lost = |id: &MemberId| {
            self.silent_at_takeover.0 == reign.epoch && self.silent_at_takeover.1.contains(id)
        };
        let connector = spec.key.to_string();
        let connections: Vec<_> = view
            .brokers
            .members()
            .filter(|id| *id != self.standby_policy.me && (Some(*id) == former || lost(id)))
            .filter_map(|id| view.brokers.connection(id, &connector).cloned())
            .collect();
        if connections.is_empty() {
            return None;
        }
        // Where the close is needed to be let in, at once. Elsewhere it only brings back what
        // the former holder was sent: one that lives may finish and ack that first.
        let finish = if spec.fenced_by_broker {
            Duration::ZERO
        } else {
            self.standby_policy.prepared()
        };
        Some(StaleConnections {
            epoch: reign.epoch,
            from: standing.clear_at? + finish,
            connections,
        })
    }
}

fn set_desired(
    kept: &SupervisedConnector,
    spec: Option<&Arc<ConnectorSpec>>,
    stance: TargetState,
    remains: Option<StaleConnections>,
) {
    kept.desired.send_if_modified(|wish| {
        let spec = spec.unwrap_or(&wish.spec).clone();
        let changed =
            wish.target != stance || wish.spec != spec || wish.stale_connections != remains;
        if changed {
            let number = wish.generation + 1;
            *wish = DesiredConnector {
                spec,
                target: stance,
                stale_connections: remains,
                generation: number,
            };
        }
        changed
    });
}
