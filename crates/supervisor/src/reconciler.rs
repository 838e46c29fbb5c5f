//! Reconciler: gives each connector's actor its target from the declared specs and the reign.

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
    takeover_policy::DrainOrder,
    target_state::{PlacementInputs, TargetState},
};

struct SupervisedConnector {
    desired: watch::Sender<DesiredConnector>,
    observed_generation: watch::Receiver<u64>,
    /// Time at which the actor was seen to have failed; another one is started a while later.
    broken_at: Option<Instant>,
}

impl SupervisedConnector {
    /// Returns true when the last target, to have no process or a parked one, was reached.
    fn is_at_rest(&self) -> bool {
        *self.observed_generation.borrow() == self.desired.borrow().generation
    }

    fn is_outgoing_or_at_rest(&self) -> bool {
        self.desired.borrow().spec.service.is_none() || self.is_at_rest()
    }
}

/// Pause between an actor that failed and the next.
const ACTOR_RESTART_DELAY: Duration = Duration::from_secs(1);

/// Policy on which processes stand by while this member doesn't act.
#[derive(Clone)]
pub(crate) struct StandbyPolicy {
    pub me: MemberId,
    /// Members: only voters can be elected.
    pub members: watch::Receiver<MemberList>,
    /// Most processes that stand by, in the order of their kinds and names.
    pub processes_max: usize,
    /// Timing: a prepared process waits for its reign as long as the failover may take.
    pub timing: watch::Receiver<EffectiveTiming>,
}

impl StandbyPolicy {
    fn prepared(&self) -> Duration {
        self.timing.borrow().patience.failover
    }

    fn voter(&mut self) -> bool {
        let members = self.members.borrow_and_update();
        members
            .iter()
            .any(|member| member.id == self.me && member.role == Role::Voter)
    }
}

/// Reconciler of this member's connectors.
pub(crate) struct ConnectorReconciler {
    shared: Arc<ActorContext>,
    standby_policy: StandbyPolicy,
    view: watch::Receiver<Arc<ConnectorsView>>,
    reign_status: watch::Receiver<ReignStatus>,
    /// Number of the drain for which the processes rest.
    drained: watch::Sender<u64>,
    supervised: BTreeMap<ConnectorKey, SupervisedConnector>,
    /// True when this member acted at the last look; then the time at which it was seen to have
    /// stopped.
    acting: bool,
    acted_until: Option<Instant>,
    /// Members that don't answer.
    silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
    /// Members that were silent when all had had the time to answer the reign of this epoch.
    silent_at_takeover: (u64, BTreeSet<MemberId>),
    /// Receivers see the end of the reconciler by it.
    _alive: watch::Sender<()>,
}

impl ConnectorReconciler {
    /// Creates a reconciler over these watches. The returned watch ends with it.
    pub(crate) fn new(
        shared: Arc<ActorContext>,
        standby_policy: StandbyPolicy,
        view: watch::Receiver<Arc<ConnectorsView>>,
        reign_status: watch::Receiver<ReignStatus>,
        silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
        drained: watch::Sender<u64>,
    ) -> (Self, watch::Receiver<()>) {
        let (alive, lives) = watch::channel(());
        let reconciler = ConnectorReconciler {
            shared,
            standby_policy,
            view,
            reign_status,
            drained,
            supervised: BTreeMap::new(),
            acting: false,
            acted_until: None,
            silent,
            silent_at_takeover: (0, BTreeSet::new()),
            _alive: alive,
        };
        (reconciler, lives)
    }

    /// Runs until the state's sender is gone. Dropped actors kill their processes.
    pub(crate) async fn run(mut self) {
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

    /// Sets the target of every actor. Returns when to look again.
    fn reconcile(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let status = *self.reign_status.borrow_and_update();
        let view = self.view.borrow_and_update().clone();
        self.note_acting(now, status);
        let inputs = PlacementInputs {
            channels_drained: self
                .supervised
                .values()
                .all(SupervisedConnector::is_outgoing_or_at_rest),
            reign_status: status,
            voter: self.standby_policy.voter(),
            prepared: self.standby_policy.prepared(),
            acted_until: self.acted_until,
        };
        let broken = self.replace_broken_actors(now);
        let silent = self.note_silent_members(now, status);
        let placed = self.place_active(now, &view, &inputs);
        self.stop_inactive(&view, status);
        self.shared
            .heartbeat_interval
            .set_process_count(self.supervised.len());
        self.show_statuses(&view, status);
        let draining = status
            .drain
            .and_then(|order| self.confirm_drained(now, order));
        [broken, silent, placed, draining]
            .into_iter()
            .flatten()
            .min()
    }

    /// Notes whether this member acts, and since when it has stopped.
    fn note_acting(&mut self, now: Instant, status: ReignStatus) {
        if status.drain.is_some() {
            // Nothing lingers after an orderly end.
            (self.acting, self.acted_until) = (false, None);
        } else if status.reigns() {
            self.acting = true;
        } else if std::mem::take(&mut self.acting) {
            self.acted_until = Some(now);
        }
    }

    /// Sets the targets of the active connectors, and starts the actors that are missing. Returns
    /// when to look again.
    fn place_active(
        &mut self,
        now: Instant,
        view: &ConnectorsView,
        inputs: &PlacementInputs,
    ) -> Option<Instant> {
        let mut look_again = None;
        let mut places = self.standby_policy.processes_max;
        for spec in view.connectors.values().filter(|spec| spec.active) {
            let warm = spec.warm && places > 0;
            places -= usize::from(warm);
            let (target, again) = inputs.target_state(spec, warm, now);
            look_again = [look_again, again].into_iter().flatten().min();
            let stale_connections = || self.stale_connections(view, spec, inputs.reign_status);
            if let Some(connector) = self.supervised.get(&spec.key) {
                set_desired(connector, Some(spec), target, stale_connections());
            } else if inputs.starts(warm) && target.needs_process() {
                let (desired, receiver) = watch::channel(DesiredConnector {
                    spec: spec.clone(),
                    target,
                    stale_connections: stale_connections(),
                    generation: 1,
                });
                let observed_generation = ConnectorActor::start(self.shared.clone(), receiver);
                let connector = SupervisedConnector {
                    desired,
                    observed_generation,
                    broken_at: None,
                };
                self.supervised.insert(spec.key.clone(), connector);
            }
        }
        look_again
    }

    /// Stops the connectors that are not active any more, and forgets those that have stopped.
    fn stop_inactive(&mut self, view: &ConnectorsView, status: ReignStatus) {
        for (key, connector) in &self.supervised {
            let spec = view.connectors.get(key);
            if !spec.is_some_and(|spec| spec.active) {
                let needed = connector.desired.borrow().spec.drain_timeout;
                let drain = status
                    .drain
                    .map_or(needed, |order| needed.min(order.within));
                set_desired(connector, None, TargetState::Stopped(drain), None);
            }
        }
        self.supervised.retain(|_, connector| {
            !(connector.desired.borrow().target.is_stopped() && connector.is_at_rest())
        });
    }

    /// Shows the inactive connectors where this member reigns, and no others than its own else.
    fn show_statuses(&self, view: &ConnectorsView, status: ReignStatus) {
        let connectors = &view.connectors;
        if status.reigns() {
            connectors
                .values()
                .filter(|spec| !spec.active && !self.supervised.contains_key(&spec.key))
                .for_each(|spec| match &spec.unusable {
                    Some(why) => self.shared.status_registry.unusable(&spec.key, why),
                    None => self.shared.status_registry.paused(&spec.key),
                });
        }
        self.shared.status_registry.retain(|key| {
            self.supervised.contains_key(key) || status.reigns() && connectors.contains_key(key)
        });
    }

    /// Confirms a drain once all processes rest and their progress is written. Returns when to
    /// look again.
    fn confirm_drained(&self, now: Instant, order: DrainOrder) -> Option<Instant> {
        // The last reported progress is written first, if that can be done soon.
        let unwritten = self.shared.progress.wanted_until().filter(|at| *at > now);
        if unwritten.is_some() {
            self.shared.progress.hurry();
            return unwritten;
        }
        let rest = self
            .supervised
            .values()
            .all(SupervisedConnector::is_at_rest);
        if rest {
            self.drained.send_if_modified(|number| {
                let changed = *number != order.number;
                *number = order.number;
                changed
            });
        }
        None
    }

    /// Replaces actors that failed. An actor ends only with its targets: one that ended before has
    /// a fault, and its process has ended with it. A pause keeps the replacement from failing over
    /// and over.
    fn replace_broken_actors(&mut self, now: Instant) -> Option<Instant> {
        for (key, connector) in &mut self.supervised {
            if connector.broken_at.is_none() && connector.observed_generation.has_changed().is_err()
            {
                error!(channel = %key, "the actor of a connector failed; another one follows");
                connector.broken_at = Some(now);
            }
        }
        let until = |connector: &SupervisedConnector| {
            connector.broken_at.map(|at| at + ACTOR_RESTART_DELAY)
        };
        self.supervised
            .retain(|_, connector| until(connector).is_none_or(|at| now < at));
        self.supervised.values().filter_map(until).min()
    }

    /// Notes once in each reign which members are silent, when all have had the time to answer it,
    /// so that a member that falls silent later keeps its connections. Returns when to look.
    fn note_silent_members(&mut self, now: Instant, reign_status: ReignStatus) -> Option<Instant> {
        if !reign_status.reigns() || self.silent_at_takeover.0 == reign_status.epoch {
            return None;
        }
        let at = reign_status.clear_at? + self.standby_policy.prepared();
        if now < at {
            return Some(at);
        }
        self.silent_at_takeover = (reign_status.epoch, BTreeSet::clone(&self.silent.borrow()));
        None
    }

    /// Returns the connections that others have left at the channel's broker: the holder before
    /// this one, if it did not release its reign, and the silent members. They are known once it is
    /// known from when on they may be closed.
    fn stale_connections(
        &self,
        view: &ConnectorsView,
        spec: &ConnectorSpec,
        reign_status: ReignStatus,
    ) -> Option<StaleConnections> {
        let reign = view.reign;
        if !reign_status.reigns() || reign_status.epoch != reign.epoch {
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
        // Where the broker lets nobody in before the close, at once. Elsewhere the close only
        // brings back what the former holder was sent: one that lives may finish and acknowledge
        // that first.
        let finish = if spec.fenced_by_broker {
            Duration::ZERO
        } else {
            self.standby_policy.prepared()
        };
        Some(StaleConnections {
            epoch: reign.epoch,
            from: reign_status.clear_at? + finish,
            connections,
        })
    }
}

fn set_desired(
    connector: &SupervisedConnector,
    spec: Option<&Arc<ConnectorSpec>>,
    target: TargetState,
    stale_connections: Option<StaleConnections>,
) {
    connector.desired.send_if_modified(|desired| {
        let spec = spec.unwrap_or(&desired.spec).clone();
        let changed = desired.target != target
            || desired.spec != spec
            || desired.stale_connections != stale_connections;
        if changed {
            let number = desired.generation + 1;
            *desired = DesiredConnector {
                spec,
                target,
                stale_connections,
                generation: number,
            };
        }
        changed
    });
}
