//! From what is declared and who acts to what each channel's keeper is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_clock::Instant;
use quorate_types::{MemberId, Members, Pace, Role};
use tokio::{sync::watch, time::sleep_until};
use tracing::error;

use super::{
    evict::Remains,
    keeper::{Keeper, Shared, Wish},
    spec::{Key, Spec},
    stance::{Situation, Stance},
    standing::Standing,
    view::View,
};

struct Kept {
    wish: watch::Sender<Wish>,
    rests: watch::Receiver<u64>,
    /// When its keeper was seen to have broken off; another one is started a while later.
    broken: Option<Instant>,
}

impl Kept {
    /// Whether its last wish, for no process or for a parked one, has been met.
    fn rests(&self) -> bool {
        *self.rests.borrow() == self.wish.borrow().number
    }

    fn is_no_busy_channel(&self) -> bool {
        self.wish.borrow().spec.service.is_none() || self.rests()
    }
}

/// Between a keeper that broke off and the next.
const MENDED: Duration = Duration::from_secs(1);

/// Which processes stand by while this member doesn't act.
#[derive(Clone)]
pub struct Warmth {
    /// This member.
    pub me: MemberId,
    /// Only voters can be elected.
    pub members: watch::Receiver<Members>,
    /// At most so many, in the order of their kinds and names.
    pub most: usize,
    /// The promise: for so long a prepared one waits for its reign.
    pub pace: watch::Receiver<Pace>,
}

impl Warmth {
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
pub struct Supervisor {
    shared: Arc<Shared>,
    warmth: Warmth,
    view: watch::Receiver<Arc<View>>,
    standing: watch::Receiver<Standing>,
    /// For which parting the processes rest.
    rested: watch::Sender<u64>,
    kept: BTreeMap<Key, Kept>,
    /// Whether it acted when last looked at, and when it was seen to have stopped.
    acting: bool,
    acted_until: Option<Instant>,
    /// Members that don't answer.
    silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
    /// Who was silent when everybody had had the time to answer the reign of this epoch.
    lost: (u64, BTreeSet<MemberId>),
    /// Its receivers see the end of this.
    _alive: watch::Sender<()>,
}

impl Supervisor {
    /// Over these watches.
    pub fn new(
        shared: Arc<Shared>,
        warmth: Warmth,
        view: watch::Receiver<Arc<View>>,
        standing: watch::Receiver<Standing>,
        silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
        rested: watch::Sender<u64>,
    ) -> (Self, watch::Receiver<()>) {
        let (alive, lives) = watch::channel(());
        let supervisor = Supervisor {
            shared,
            warmth,
            view,
            standing,
            rested,
            kept: BTreeMap::new(),
            acting: false,
            acted_until: None,
            silent,
            lost: (0, BTreeSet::new()),
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
                changed = self.standing.changed() => if changed.is_err() { return },
                changed = self.warmth.members.changed() => if changed.is_err() { return },
                () = self.shared.rested.notified() => {}
                () = sleep_until(look_again.unwrap_or_else(Instant::now)), if look_again.is_some() => {}
            }
        }
    }

    /// Asks every keeper for what is wished now. Returns when to look again.
    fn reconcile(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let standing = *self.standing.borrow_and_update();
        let view = self.view.borrow_and_update().clone();
        let connectors = &view.connectors;
        if standing.rest.is_some() {
            // Nothing lingers after an orderly end.
            (self.acting, self.acted_until) = (false, None);
        } else if standing.reigns() {
            self.acting = true;
        } else if std::mem::take(&mut self.acting) {
            self.acted_until = Some(now);
        }
        let situation = Situation {
            channels_rest: self.kept.values().all(Kept::is_no_busy_channel),
            standing,
            voter: self.warmth.voter(),
            prepared: self.warmth.prepared(),
            acted_until: self.acted_until,
        };
        let mut look_again = [self.mend(now), self.look_for_lost(now, standing)]
            .into_iter()
            .flatten()
            .min();
        let mut places = self.warmth.most;
        for spec in connectors.values().filter(|spec| spec.active) {
            let warm = spec.warm && places > 0;
            places -= usize::from(warm);
            let (stance, again) = situation.stance(spec, warm, now);
            look_again = [look_again, again].into_iter().flatten().min();
            if let Some(kept) = self.kept.get(&spec.key) {
                let remains = self.remains(&view, spec, standing);
                ask(kept, Some(spec), stance, remains);
            } else if situation.starts(warm) && stance.needs_process() {
                let (wish, wishes) = watch::channel(Wish {
                    spec: spec.clone(),
                    stance,
                    remains: self.remains(&view, spec, standing),
                    number: 1,
                });
                let rests = Keeper::start(self.shared.clone(), wishes);
                self.kept.insert(
                    spec.key.clone(),
                    Kept {
                        wish,
                        rests,
                        broken: None,
                    },
                );
            }
        }
        for (key, kept) in &self.kept {
            if !connectors.get(key).is_some_and(|spec| spec.active) {
                let needed = kept.wish.borrow().spec.finish;
                let drain = standing.rest.map_or(needed, |rest| needed.min(rest.within));
                ask(kept, None, Stance::Gone(drain), None);
            }
        }
        self.kept
            .retain(|_, kept| !(kept.wish.borrow().stance.is_gone() && kept.rests()));

        self.shared.signs.among(self.kept.len());

        if standing.reigns() {
            connectors
                .values()
                .filter(|spec| !spec.active && !self.kept.contains_key(&spec.key))
                .for_each(|spec| {
                    self.shared.board.paused(&spec.key);
                });
        }
        self.shared.board.retain(|key| {
            self.kept.contains_key(key) || standing.reigns() && connectors.contains_key(key)
        });
        // What they have said last is written first, if that can be done soon.
        let unwritten = self.shared.progress.wanted_until().filter(|at| *at > now);
        if standing.rest.is_some() {
            look_again = [look_again, unwritten].into_iter().flatten().min();
            if unwritten.is_some() {
                self.shared.progress.hurry();
            }
        }
        if let Some(rest) = standing.rest
            && unwritten.is_none()
            && self.kept.values().all(Kept::rests)
        {
            self.rested.send_if_modified(|number| {
                let changed = *number != rest.number;
                *number = rest.number;
                changed
            });
        }
        look_again
    }

    /// A keeper ends only with its wishes. One that broke off has a fault, and its process
    /// has ended with it; it is replaced, but not over and over at once.
    fn mend(&mut self, now: Instant) -> Option<Instant> {
        for (key, kept) in &mut self.kept {
            if kept.broken.is_none() && kept.rests.has_changed().is_err() {
                error!(channel = %key, "the keeper of a connector broke off; another one follows");
                kept.broken = Some(now);
            }
        }
        let until = |kept: &Kept| kept.broken.map(|at| at + MENDED);
        self.kept
            .retain(|_, kept| until(kept).is_none_or(|at| now < at));
        self.kept.values().filter_map(until).min()
    }

    /// Looks once in each reign who is silent, when all have had the time to answer it, so
    /// that a member that falls silent later keeps its connections. Returns when to look.
    fn look_for_lost(&mut self, now: Instant, standing: Standing) -> Option<Instant> {
        if !standing.reigns() || self.lost.0 == standing.epoch {
            return None;
        }
        let at = standing.clear_at? + self.warmth.prepared();
        if now < at {
            return Some(at);
        }
        self.lost = (standing.epoch, BTreeSet::clone(&self.silent.borrow()));
        None
    }

    /// What others have left at the channel's broker: the holder before this one, if it did
    /// not let go, and who is silent. Known once it is known from when on it may be closed.
    fn remains(&self, view: &View, spec: &Spec, standing: Standing) -> Option<Remains> {
        let reign = view.reign;
        if !standing.reigns() || standing.epoch != reign.epoch {
            return None;
        }
        spec.management.as_ref()?;
        let former = reign.former.filter(|_| !reign.clear);
        let lost = |id: &MemberId| self.lost.0 == reign.epoch && self.lost.1.contains(id);
        let connector = spec.key.to_string();
        let connections: Vec<_> = view
            .brokers
            .members()
            .filter(|id| *id != self.warmth.me && (Some(*id) == former || lost(id)))
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
            self.warmth.prepared()
        };
        Some(Remains {
            epoch: reign.epoch,
            from: standing.clear_at? + finish,
            connections,
        })
    }
}

fn ask(kept: &Kept, spec: Option<&Arc<Spec>>, stance: Stance, remains: Option<Remains>) {
    kept.wish.send_if_modified(|wish| {
        let spec = spec.unwrap_or(&wish.spec).clone();
        let changed = wish.stance != stance || wish.spec != spec || wish.remains != remains;
        if changed {
            let number = wish.number + 1;
            *wish = Wish {
                spec,
                stance,
                remains,
                number,
            };
        }
        changed
    });
}
