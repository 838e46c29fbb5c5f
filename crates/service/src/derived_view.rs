//! View derived from the catalog, as new as the state at every look and without a lock on the way.
//!
//! Each view keeps the receiver with which the state it was built from was seen, so that "has
//! anything been applied since?" is one atomic load. A task that rebuilt the view in the background
//! would leave a moment in which a write has been answered and the old view is still served; here
//! the first reader after a change rebuilds.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use quorate_state::State;
use tokio::sync::watch;

type BuildView<T> = dyn Fn(&State, Option<&T>) -> T + Send + Sync;

/// Latest view of type `T`.
pub(crate) struct DerivedView<T> {
    latest: ArcSwap<CachedView<T>>,
    rebuilding: Mutex<()>,
    build: Box<BuildView<T>>,
}

struct CachedView<T> {
    state: watch::Receiver<Arc<State>>,
    revision: u64,
    view: Arc<T>,
}

impl<T> DerivedView<T> {
    /// Creates a view. `build` gets the state and the view before, from which it may keep what has
    /// not changed.
    pub(crate) fn new(
        mut state: watch::Receiver<Arc<State>>,
        build: impl Fn(&State, Option<&T>) -> T + Send + Sync + 'static,
    ) -> Self {
        let now = state.borrow_and_update().clone();
        let seen = CachedView {
            revision: now.opened_revision(),
            view: Arc::new(build(&now, None)),
            state,
        };
        DerivedView {
            latest: ArcSwap::from_pointee(seen),
            rebuilding: Mutex::new(()),
            build: Box::new(build),
        }
    }

    /// Returns the view of the state that is applied now.
    pub(crate) fn get(&self) -> Arc<T> {
        let seen = self.latest.load();
        if is_current(&seen.state) {
            seen.view.clone()
        } else {
            self.rebuild()
        }
    }

    #[cold]
    fn rebuild(&self) -> Arc<T> {
        let _one_at_a_time = self.rebuilding.lock();
        let before = self.latest.load_full();
        if is_current(&before.state) {
            return before.view.clone();
        }
        let mut state = before.state.clone();
        let now = state.borrow_and_update().clone();
        let revision = now.opened_revision();
        let view = if revision == before.revision {
            before.view.clone()
        } else {
            Arc::new((self.build)(&now, Some(&before.view)))
        };
        self.latest.store(Arc::new(CachedView {
            state,
            revision,
            view: view.clone(),
        }));
        view
    }
}

/// Returns true while no newer state was published. A state whose sender is gone stays current: the
/// member is stopping.
fn is_current(state: &watch::Receiver<Arc<State>>) -> bool {
    !state.has_changed().unwrap_or(false)
}
