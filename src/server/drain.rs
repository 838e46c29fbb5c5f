//! The end of a member, within 10 s of the order.
//!
//! In an orderly end nobody notices that it goes. Two things are given up, and neither
//! waits for the other:
//!
//! - **HTTP.** Readiness goes down first of all. The balancer looks a few times a second,
//!   so requests go on coming for a moment ([`NOTICE`]), and are served as ever. Only then
//!   the port closes, and what runs is finished.
//! - **The connectors**, if this member runs them, at once: consumers cancelled; what is in
//!   flight finished, within a bound, and acknowledged; lease revoked; `ReleaseProposal` committed;
//!   leadership handed to the best-matched voter. In this order, because each step rests on
//!   the one before: nothing is handed on any more when the lease ends, no lease runs when
//!   the release is written, and whoever is elected sees the release in its log, so that
//!   its connectors need not wait. To wait for the balancer first would only leave the
//!   messages lying for a second.
//!
//! Messages that other members send here to be run are refused from the first moment, with
//! the word that they did not run, so that they go to the next member; those that run are
//! finished. What this member's own connectors still hand on goes to the others first, and
//! is run here when none takes it: so nothing fails and nothing is handled twice.
//!
//! The end of the process waits for both, and for the calls that run. Each step has a share
//! of the time and none can take another's; consensus stops last.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_types::Role;
use tokio::time::{sleep, timeout};

use super::RunningServer;

/// All of it. The rest of the 10 s is for the operating system, and for a slow machine.
const WHOLE: Duration = Duration::from_millis(9_000);
/// What the steps after draining need.
const RESERVE: Duration = Duration::from_millis(2_000);
/// The balancer asks for readiness several times a second and believes the second no.
const NOTICE: Duration = Duration::from_millis(1_000);
/// A handover takes one round trip when the target is up to date.
const TRANSFER: Duration = Duration::from_millis(1_500);
/// Between two tries of a handover that was refused.
const AGAIN: Duration = Duration::from_millis(50);
/// Storage is synced as it goes: closing it is quick.
const CLOSE: Duration = Duration::from_millis(1_500);
const LOOK: Duration = Duration::from_millis(20);

/// How much is left until `end`, less what must be kept.
fn left(end: Instant, reserve: Duration) -> Duration {
    end.saturating_duration_since(Instant::now())
        .saturating_sub(reserve)
}

/// The end that was ordered.
pub(super) async fn orderly(mut running: RunningServer) {
    let end = Instant::now() + WHOLE;
    tracing::info!("stopping: no new work is taken");
    running.draining.send_replace(true);
    running.services.refuse_messages();
    let others = has_other_voters(&running);
    let notice = if others { NOTICE } else { Duration::ZERO };
    tokio::join!(hand_over(&running, others, end), sleep(notice));

    let wait = running.settings.drain.min(left(end, RESERVE));
    tokio::join!(
        running.faces.http.stop(wait + Duration::from_millis(100)),
        calls_end(&running.services, wait)
    );
    close(&mut running).await;
    tracing::info!("stopped");
}

/// The connectors first, then the leadership.
async fn hand_over(running: &RunningServer, others: bool, end: Instant) {
    let drain = running.settings.drain.min(left(end, RESERVE + TRANSFER));
    let release = running.connectors.shutdown(drain);
    let bound = drain + Duration::from_millis(500);
    if timeout(bound, release).await.is_err() {
        tracing::warn!(
            "the connectors did not stop in time; the next connector server waits for their lease"
        );
    }
    if others {
        transfer(running, Instant::now() + TRANSFER.min(left(end, RESERVE))).await;
    }
}

/// Hands leadership over, if this member has it. Refused when nobody is fit for it, which
/// may pass: another member may be starting at this very moment.
async fn transfer(running: &RunningServer, deadline: Instant) {
    let node = running.cluster.node();
    while node.leadership().borrow().leading {
        match node.transfer(None, deadline).await {
            Ok(to) => {
                tracing::info!(to, "leadership was handed over");
                return;
            }
            Err(error) if Instant::now() + AGAIN >= deadline => {
                tracing::warn!(%error, "leadership was not handed over; the others elect a leader");
                return;
            }
            Err(error) => tracing::debug!(%error, "leadership is not handed over yet"),
        }
        sleep(AGAIN).await;
    }
}

/// The end of a member that has lost a part of itself: its peers should not wait for it.
pub(super) async fn at_once(mut running: RunningServer) {
    running.draining.send_replace(true);
    close(&mut running).await;
}

async fn close(running: &mut RunningServer) {
    running.faces.admin.stop(Duration::from_millis(600)).await;
    if timeout(CLOSE, running.cluster.node().shutdown())
        .await
        .is_err()
    {
        tracing::warn!("the storage did not close in time; it is recovered at the next start");
    }
    running.faces.peer.stop(Duration::from_millis(200)).await;
}

fn has_other_voters(running: &RunningServer) -> bool {
    let node = running.cluster.node();
    node.members()
        .iter()
        .any(|member| member.id != node.id() && member.role == Role::Voter)
}

/// Waits for the calls that other members have sent here.
async fn calls_end(services: &quorate_service::Services, wait: Duration) {
    let deadline = Instant::now() + wait;
    while services.in_flight() > 0 && Instant::now() < deadline {
        sleep(LOOK).await;
    }
}
