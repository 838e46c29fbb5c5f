//! The switch that has this member log takeovers as news: once it has caught up with the others.
//!
//! Entries that it applies before that, from its own log and of what it has missed, are of long
//! ago. Only their result is logged, once, as what was found.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quorate_state::Reign;
use quorate_types::backoff::Backoff;
use tokio::time::sleep;

use crate::cluster::ClusterHandle;

const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Waits until everything is applied that was committed before, and sets `caught_up`.
pub(super) async fn start_when_caught_up(cluster: ClusterHandle, caught_up: Arc<AtomicBool>) {
    let mut pauses = Backoff::new(PAUSE, PAUSE_MAX);
    while cluster.fresh_state(cluster.write_deadline()).await.is_err() {
        sleep(pauses.step()).await;
    }
    // Set first, so that nothing is missed in between.
    caught_up.store(true, Ordering::Relaxed);
    let state = cluster.state();
    if let Reign {
        holder: Some(holder),
        epoch,
        released,
        ..
    } = state.reign()
    {
        tracing::info!(holder, epoch, released, "the connector server, as found");
    }
}
