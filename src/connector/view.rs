//! What the connectors need to know of the replicated state, and nothing more.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use super::{
    declared::{self, MadeOf},
    spec::{Key, Spec},
};
pub use crate::state::Reign;
use crate::state::{Brokers, State};

/// What is to run, and under whom.
#[derive(Clone, Default)]
pub struct View {
    /// Who runs the connectors.
    pub reign: Reign,
    /// The channels and outgoings that are declared. The same `Arc` as long as none has
    /// changed.
    pub connectors: Arc<BTreeMap<Key, Arc<Spec>>>,
    /// What each of them was made of.
    pub(super) made_of: Arc<BTreeMap<Key, MadeOf>>,
    /// What the brokers call the members' connections.
    pub brokers: Brokers,
}

impl View {
    /// What `state` says. Those that have not changed stay the same `Arc`s as `before`.
    pub fn of(state: &State, before: &View) -> View {
        let (mut connectors, mut made_of) = (BTreeMap::new(), BTreeMap::new());
        for (key, now, resource) in declared::all(state) {
            let old = before.connectors.get(&key);
            let spec = match old {
                // With a thousand, making all anew for each write of one takes longer than
                // the write.
                Some(old) if before.made_of.get(&key) == Some(&now) => old.clone(),
                _ => {
                    let Some(spec) = declared::spec(state, resource) else {
                        continue;
                    };
                    let same = old.filter(|old| ***old == spec).cloned();
                    same.unwrap_or_else(|| Arc::new(spec))
                }
            };
            made_of.insert(key.clone(), now);
            connectors.insert(key, spec);
        }
        View {
            reign: *state.reign(),
            connectors: Arc::new(connectors),
            made_of: Arc::new(made_of),
            brokers: state.brokers().clone(),
        }
    }

    /// Follows the state. Writes that concern no connector are not passed on.
    pub fn follow(mut state: watch::Receiver<Arc<State>>) -> watch::Receiver<Arc<View>> {
        let now = state.borrow_and_update().clone();
        let mut revision = revision_of(&now);
        let (sender, receiver) = watch::channel(Arc::new(View::of(&now, &View::default())));
        tokio::spawn(async move {
            while !sender.is_closed() && state.changed().await.is_ok() {
                let now = state.borrow_and_update().clone();
                let before = sender.borrow().clone();
                let view = if revision_of(&now) == revision {
                    View {
                        reign: *now.reign(),
                        connectors: before.connectors.clone(),
                        made_of: before.made_of.clone(),
                        brokers: now.brokers().clone(),
                    }
                } else {
                    View::of(&now, &before)
                };
                revision = revision_of(&now);
                if view.reign != before.reign
                    || view.connectors != before.connectors
                    || view.brokers != before.brokers
                {
                    sender.send_replace(Arc::new(view));
                }
            }
        });
        receiver
    }
}

/// What the specs are made of has not changed as long as this has not.
fn revision_of(state: &State) -> (u64, u64) {
    (state.catalog().revision(), state.operations().revision())
}
