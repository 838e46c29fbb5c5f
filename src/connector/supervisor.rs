//! From what is declared and who acts to what each channel's keeper is asked for.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};

use super::{
    keeper::{Keeper, Shared, Stance, Wish},
    reign::Standing,
    view::{Key, Spec, View},
};

/// How long processes stand by after the reign was lost: it may be kept, or come back,
/// within a moment, and then costs no new process.
const LINGER: Duration = Duration::from_secs(5);

/// What the handle asks for.
pub enum Order {
    /// Let every process finish within this time and go; say when all are gone.
    Rest(Duration, oneshot::Sender<()>),
    /// Follow the standing again.
    Resume,
}

struct Kept {
    wish: watch::Sender<Wish>,
    resting: watch::Receiver<bool>,
}

/// Reconciles.
pub struct Supervisor {
    shared: Arc<Shared>,
    view: watch::Receiver<Arc<View>>,
    standing: watch::Receiver<Standing>,
    orders: mpsc::Receiver<Order>,
    kept: BTreeMap<Key, Kept>,
    /// Whether it acted when last looked at, and when it was seen to have stopped.
    acting: bool,
    acted_until: Option<Instant>,
    rest: Option<(Duration, Vec<oneshot::Sender<()>>)>,
}

impl Supervisor {
    /// Over these watches.
    pub fn new(
        shared: Arc<Shared>,
        view: watch::Receiver<Arc<View>>,
        standing: watch::Receiver<Standing>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Supervisor {
            shared,
            view,
            standing,
            orders,
            kept: BTreeMap::new(),
            acting: false,
            acted_until: None,
            rest: None,
        }
    }

    /// Runs until the state is no longer told. Dropped keepers kill their processes.
    pub async fn run(mut self) {
        loop {
            let look_again = self.reconcile();
            tokio::select! {
                changed = self.view.changed() => if changed.is_err() { return },
                changed = self.standing.changed() => if changed.is_err() { return },
                () = self.shared.rested.notified() => {}
                order = self.orders.recv() => match order {
                    None => return,
                    Some(Order::Resume) => {
                        self.rest = None;
                        (self.acting, self.acted_until) = (false, None);
                    }
                    Some(Order::Rest(drain, done)) => {
                        let (shortest, waiting) = self.rest.get_or_insert((drain, Vec::new()));
                        *shortest = drain.min(*shortest);
                        waiting.push(done);
                    }
                },
                () = sleep_until(look_again.unwrap_or_else(Instant::now).into()), if look_again.is_some() => {}
            }
        }
    }

    /// Asks every keeper for what is wished now. Returns when to look again.
    fn reconcile(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let standing = *self.standing.borrow_and_update();
        let channels = self.view.borrow_and_update().channels.clone();
        if standing.acting {
            self.acting = true;
        } else if std::mem::take(&mut self.acting) {
            self.acted_until = Some(now);
        }
        let mut look_again = None;
        for spec in channels.values().filter(|spec| spec.active) {
            let (stance, again) = self.stance(spec, &standing, now);
            look_again = [look_again, again].into_iter().flatten().min();
            self.ask(spec, stance);
        }
        for (key, kept) in &self.kept {
            if !channels.get(key).is_some_and(|spec| spec.active) {
                let needed = kept.wish.borrow().spec.call_timeout;
                let drain = self
                    .rest
                    .as_ref()
                    .map_or(needed, |(drain, _)| needed.min(*drain));
                ask(kept, None, Stance::Gone(drain));
            }
        }
        self.kept.retain(|_, kept| {
            !(*kept.resting.borrow() && matches!(kept.wish.borrow().stance, Stance::Gone(_)))
        });

        if standing.acting {
            channels
                .values()
                .filter(|spec| !spec.active && !self.kept.contains_key(&spec.key))
                .for_each(|spec| {
                    self.shared.board.paused(&spec.key);
                });
        }
        self.shared.board.retain(|key| {
            self.kept.contains_key(key) || standing.acting && channels.contains_key(key)
        });
        if self.kept.is_empty()
            && let Some((_, waiting)) = &mut self.rest
        {
            waiting.drain(..).for_each(|done| {
                // The one who asked may have stopped waiting.
                let _ = done.send(());
            });
        }
        look_again
    }

    fn stance(&self, spec: &Spec, standing: &Standing, now: Instant) -> (Stance, Option<Instant>) {
        if let Some((drain, _)) = self.rest {
            return (Stance::Gone(drain), None);
        }
        if standing.acting {
            return match standing.clear_at {
                _ if spec.fenced_by_broker => (Stance::Act(standing.epoch), None),
                Some(at) if now >= at => (Stance::Act(standing.epoch), None),
                clear_at => (Stance::StandBy(spec.call_timeout), clear_at),
            };
        }
        let until = self.acted_until.map(|at| at + LINGER);
        match until {
            Some(until) if now < until => (Stance::StandBy(spec.call_timeout), Some(until)),
            _ => (Stance::Gone(spec.call_timeout), None),
        }
    }

    fn ask(&mut self, spec: &Arc<Spec>, stance: Stance) {
        if let Some(kept) = self.kept.get(&spec.key) {
            return ask(kept, Some(spec), stance);
        }
        // Nobody starts a process just to let it stand by for a moment.
        if self.standing.borrow().acting && !matches!(stance, Stance::Gone(_)) {
            let (wish, wishes) = watch::channel(Wish {
                spec: spec.clone(),
                stance,
            });
            let resting = Keeper::start(self.shared.clone(), wishes);
            self.kept.insert(spec.key.clone(), Kept { wish, resting });
        }
    }
}

fn ask(kept: &Kept, spec: Option<&Arc<Spec>>, stance: Stance) {
    kept.wish.send_if_modified(|wish| {
        let spec = spec.unwrap_or(&wish.spec).clone();
        let changed = wish.stance != stance || *wish.spec != *spec;
        *wish = Wish { spec, stance };
        changed
    });
}
