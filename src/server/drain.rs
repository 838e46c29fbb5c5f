//! The end of a member, within 10 s of the order.
//!
//! In an orderly end nobody notices that it goes: the balancer is told and given a moment
//! to send requests elsewhere while they are still served; the connectors finish what is in
//! flight and are released; leadership is handed over; requests and calls that run are
//! finished; and only then consensus stops. Each step has a share of the time and none can
//! take another's.

use std::time::Duration;

use quorate_raft::Role;
use tokio::time::{Instant, sleep, timeout};

use super::Running;

/// All of it. The rest of the 10 s is for the operating system, and for a slow machine.
const WHOLE: Duration = Duration::from_millis(9_000);
/// What the steps after draining need.
const RESERVE: Duration = Duration::from_millis(2_000);
/// The balancer asks for readiness several times a second and believes the second no.
const NOTICE: Duration = Duration::from_millis(1_000);
/// A handover takes one round trip when the target is up to date.
const TRANSFER: Duration = Duration::from_millis(1_500);
/// Storage is synced as it goes: closing it is quick.
const CLOSE: Duration = Duration::from_millis(1_500);
const LOOK: Duration = Duration::from_millis(20);

/// The end that was ordered.
pub(super) async fn orderly(mut running: Running) {
    let end = Instant::now() + WHOLE;
    let left = |reserve: Duration| {
        end.saturating_duration_since(Instant::now())
            .saturating_sub(reserve)
    };
    tracing::info!("stopping: no new work is taken");
    running.draining.send_replace(true);
    running.services.refuse_messages();

    let others = has_other_voters(&running);
    let notice = if others { NOTICE } else { Duration::ZERO };
    let drain = running.settings.drain.min(left(RESERVE + TRANSFER));
    let release = timeout(
        drain + Duration::from_millis(500),
        running.connectors.shutdown(drain),
    );
    let (released, ()) = tokio::join!(release, sleep(notice));
    if released.is_err() {
        tracing::warn!(
            "the connectors did not stop in time; the next connector server waits for their lease"
        );
    }

    let leading = running.cluster.node().leadership().borrow().leading;
    if leading && others {
        let deadline = std::time::Instant::now() + TRANSFER.min(left(RESERVE));
        match running.cluster.node().transfer(None, deadline).await {
            Ok(to) => tracing::info!(to, "leadership was handed over"),
            Err(error) => {
                tracing::warn!(%error, "leadership was not handed over; the others elect a leader")
            }
        }
    }

    let wait = running.settings.drain.min(left(RESERVE));
    tokio::join!(
        running.faces.http.stop(wait + Duration::from_millis(100)),
        calls_end(&running.services, wait)
    );
    close(&mut running).await;
    tracing::info!("stopped");
}

/// The end of a member that has lost a part of itself: its peers should not wait for it.
pub(super) async fn at_once(mut running: Running) {
    running.draining.send_replace(true);
    close(&mut running).await;
}

async fn close(running: &mut Running) {
    running.faces.admin.stop(Duration::from_millis(600)).await;
    if timeout(CLOSE, running.cluster.node().shutdown())
        .await
        .is_err()
    {
        tracing::warn!("the storage did not close in time; it is recovered at the next start");
    }
    running.faces.peer.stop(Duration::from_millis(200)).await;
}

fn has_other_voters(running: &Running) -> bool {
    let node = running.cluster.node();
    node.members()
        .iter()
        .any(|member| member.id != node.id() && member.role == Role::Voter)
}

/// Waits for the calls that other members have sent here.
async fn calls_end(services: &crate::service::Services, wait: Duration) {
    let deadline = Instant::now() + wait;
    while services.in_flight() > 0 && Instant::now() < deadline {
        sleep(LOOK).await;
    }
}
