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
    keeper::{Keeper, Shared, Wish},
    reign::Standing,
    stance::{Situation, Stance},
    view::{Key, Spec, View},
};

/// What the handle asks for.
pub enum Order {
    /// Let every process finish within this time and go; say when all are gone.
    Rest(Duration, oneshot::Sender<()>),
    /// Follow the standing again.
    Resume,
}

struct Kept {
    wish: watch::Sender<Wish>,
    rests: watch::Receiver<u64>,
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
        let situation = Situation {
            rest: self.rest.as_ref().map(|(drain, _)| *drain),
            standing,
            acted_until: self.acted_until,
        };
        let mut look_again = None;
        for spec in channels.values().filter(|spec| spec.active) {
            let (stance, again) = situation.stance(spec, now);
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
            let wish = kept.wish.borrow();
            !(wish.stance.is_gone() && *kept.rests.borrow() == wish.number)
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

    fn ask(&mut self, spec: &Arc<Spec>, stance: Stance) {
        if let Some(kept) = self.kept.get(&spec.key) {
            return ask(kept, Some(spec), stance);
        }
        // Nobody starts a process just to let it stand by for a moment.
        if self.standing.borrow().acting && !stance.is_gone() {
            let (wish, wishes) = watch::channel(Wish {
                spec: spec.clone(),
                stance,
                number: 1,
            });
            let rests = Keeper::start(self.shared.clone(), wishes);
            self.kept.insert(spec.key.clone(), Kept { wish, rests });
        }
    }
}

fn ask(kept: &Kept, spec: Option<&Arc<Spec>>, stance: Stance) {
    kept.wish.send_if_modified(|wish| {
        let spec = spec.unwrap_or(&wish.spec).clone();
        let changed = wish.stance != stance || *wish.spec != *spec;
        if changed {
            let number = wish.number + 1;
            *wish = Wish {
                spec,
                stance,
                number,
            };
        }
        changed
    });
}
