//! The end of a member, within 10 s of the order.
//!
//! In an orderly end no caller notices that the member goes. Two duties are given up, and neither
//! waits for the other:
//!
//! - **HTTP.** Readiness goes down first of all. The balancer looks a few times a second, so
//!   requests go on coming for a moment ([`NOTICE`]), and are served as ever. Only then the port
//!   closes, and running requests are finished.
//! - **The connectors**, if this member runs them, at once: consumers cancelled; messages in flight
//!   finished, within a bound, and acknowledged; lease revoked; `Release` committed; leadership
//!   handed to the best-matched voter. In this order, because each step rests on the one before:
//!   nothing is handed on any more when the lease ends, no lease runs when the release is written,
//!   and the member that is elected sees the release in its log, so that its connectors need not
//!   wait. To wait for the balancer first would only leave the messages lying for a second.
//!
//! Messages that other members send here to be run are refused from the first moment, with the
//! answer that they did not run, so that they go to the next member; those that run are finished.
//! Messages that this member's own connectors still hand on go to the others first, and run here
//! when none takes them: so nothing fails and nothing is handled twice.
//!
//! The end of the process waits for both, and for the calls that run. Each step has a share of the
//! time and none can take another's; consensus stops last.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_types::Role;
use tokio::time::{sleep, timeout};

use super::RunningServer;

/// The whole time. The rest of the 10 s is for the operating system, and for a slow machine.
const WHOLE: Duration = Duration::from_millis(9_000);
/// The time for the steps after draining.
const RESERVE: Duration = Duration::from_millis(2_000);
/// The time for the balancer, which checks readiness several times a second and believes the second
/// failure.
const NOTICE: Duration = Duration::from_millis(1_000);
/// The time for a handover, which takes one round trip when the target is up to date.
const TRANSFER: Duration = Duration::from_millis(1_500);
/// The pause between two tries of a handover that was refused.
const AGAIN: Duration = Duration::from_millis(50);
/// The time to close storage, which is quick since it is synced as it goes.
const CLOSE: Duration = Duration::from_millis(1_500);
const LOOK: Duration = Duration::from_millis(20);

/// Returns the time until `end`, less `reserve`.
fn left(end: Instant, reserve: Duration) -> Duration {
    end.saturating_duration_since(Instant::now())
        .saturating_sub(reserve)
}

/// Ends the member as ordered.
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
        running
            .listeners
            .http
            .stop(wait + Duration::from_millis(100)),
        calls_end(&running.services, wait)
    );
    close(&mut running).await;
    tracing::info!("stopped");
}

/// Drains the connectors first, then hands leadership over.
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

/// Hands leadership over, if this member has it. The handover is refused when no voter is fit,
/// which may pass: another member may be starting at this very moment.
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

/// Ends a member that has lost a part of itself: its peers should not wait for it.
pub(super) async fn at_once(mut running: RunningServer) {
    running.draining.send_replace(true);
    close(&mut running).await;
}

async fn close(running: &mut RunningServer) {
    running
        .listeners
        .admin
        .stop(Duration::from_millis(600))
        .await;
    if timeout(CLOSE, running.cluster.node().shutdown())
        .await
        .is_err()
    {
        tracing::warn!("the storage did not close in time; it is recovered at the next start");
    }
    running
        .listeners
        .peer
        .stop(Duration::from_millis(200))
        .await;
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
