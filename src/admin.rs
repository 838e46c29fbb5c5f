//! The administration API: REST, health and metrics. Errors are problem+json with a `code`.

mod browser_guard;
pub mod cluster_answers;
mod cluster_settings;
mod common_problems;
mod compute_slots;
pub mod config;
mod connectors;
mod health;
mod invoke;
mod join;
pub mod kv;
mod leader;
pub mod member_report;
mod members;
pub mod metrics;
pub mod operate;
pub mod outgoing;
pub mod peers;
pub mod problem;
mod proposed_write;
mod request_timeout;
mod revision_headers;
mod serve;
pub mod standbys;
mod status;
pub mod takeovers;
mod transfer;
mod unread_body;
pub mod validate;
pub mod warnings;
pub mod watch;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::FromRef, middleware};
use outgoing::OpenIntents;
use peers::AdminPeers;
use quorate_service::Services;
use quorate_supervisor as connector;
use quorate_types::{Leadership, MemberId, MemberStatus};
use tokio::sync::watch::Receiver;

use crate::{cluster::ClusterHandle, settings::InsecureFaces};

pub use browser_guard::AllowedHosts;
pub use serve::serve;

/// The parts of the member that the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct AdminContext {
    /// The replicated state, and the way to change it.
    pub cluster: ClusterHandle,
    /// The services of this member.
    pub services: Arc<Services>,
    /// The connectors of this member.
    pub connectors: connector::SupervisorHandle,
    /// The time that connectors have to finish messages in flight when they are handed over.
    pub drain: Duration,
    /// Becomes true when this member begins to drain.
    pub draining: Receiver<bool>,
    /// The client of the other members' admin ports.
    pub peers: AdminPeers,
    /// The host names under which this API may be called.
    pub allowed_hosts: Arc<AllowedHosts>,
    /// The listeners that may be reached beyond loopback without TLS, by this member's settings.
    pub insecure: InsecureFaces,
    /// The messages that this member is sending under idempotency keys.
    pub intents: Arc<OpenIntents>,
}

impl AdminContext {
    /// Returns the leadership as of now.
    pub(crate) fn leadership(&self) -> Leadership {
        *self.cluster.node().leadership().borrow()
    }

    /// This member's id.
    pub(crate) fn me(&self) -> MemberId {
        self.cluster.node().id()
    }

    /// Returns true for a member that is dead for sure, or unheard for longer than it should be.
    pub(crate) fn is_silent(&self, member: MemberId) -> bool {
        self.cluster
            .node()
            .unreachable_members()
            .borrow()
            .contains(&member)
    }

    /// Finds a member by id.
    pub(crate) fn member(&self, id: MemberId) -> Option<MemberStatus> {
        self.cluster
            .node()
            .members()
            .into_iter()
            .find(|member| member.id == id)
    }

    /// Returns how long another member is waited for.
    pub(crate) fn peer_wait(&self) -> Duration {
        (self.cluster.timing().failover * 2)
            .clamp(Duration::from_millis(500), Duration::from_secs(5))
    }
}

impl FromRef<AdminContext> for ClusterHandle {
    fn from_ref(context: &AdminContext) -> ClusterHandle {
        context.cluster.clone()
    }
}

/// Builds the router of all administration calls.
pub fn router(context: AdminContext) -> Router {
    Router::new()
        .merge(health::routes())
        .merge(leader::routes())
        .merge(members::routes())
        .merge(join::routes())
        .merge(transfer::routes())
        .merge(status::routes())
        .merge(cluster_settings::routes())
        .merge(takeovers::routes())
        .merge(member_report::routes())
        .merge(connectors::routes())
        .merge(invoke::routes())
        .merge(operate::routes())
        .merge(outgoing::routes())
        .merge(validate::routes())
        .merge(metrics::routes())
        .merge(config::routes())
        .merge(kv::routes())
        .merge(watch::routes())
        .fallback(common_problems::unknown_path)
        .method_not_allowed_fallback(common_problems::wrong_method)
        .layer(middleware::from_fn_with_state(
            context.clone(),
            request_timeout::enforce_timeout,
        ))
        .layer(middleware::from_fn_with_state(
            context.clone(),
            browser_guard::check,
        ))
        .layer(middleware::from_fn(unread_body::drain_unread))
        .with_state(context)
}
