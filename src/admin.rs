//! The admin face: REST, health and metrics. Errors are problem+json with a `code`.

pub mod answers;
mod bench;
mod browser_guard;
pub mod config;
mod connectors;
mod health;
mod invoke;
mod join;
pub mod kv;
mod leader;
mod limits;
mod members;
pub mod metrics;
pub mod operate;
pub mod outgoing;
pub mod own;
pub mod peers;
pub mod problem;
mod refusal;
mod rest_of_body;
mod revision;
mod serve;
mod settings;
pub mod standbys;
mod status;
pub mod takeovers;
mod takers;
mod transfer;
pub mod validate;
pub mod warnings;
pub mod watch;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::FromRef, middleware};
use outgoing::OpenIntents;
use peers::Peers;
use quorate_service::Services;
use quorate_supervisor as connector;
use quorate_types::{Leadership, MemberId, MemberStatus};
use tokio::sync::watch::Receiver;

use crate::{cluster::Cluster, settings::InsecureFaces};

pub use browser_guard::AllowedHosts;
pub use serve::serve;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The replicated state, and the way to change it.
    pub cluster: Cluster,
    /// The services of this member.
    pub services: Arc<Services>,
    /// The connectors of this member.
    pub connectors: connector::Handle,
    /// How long connectors may take to finish what is in flight when they are handed over.
    pub drain: Duration,
    /// Whether this member is on its way out.
    pub draining: Receiver<bool>,
    /// The other members' admin faces.
    pub peers: Peers,
    /// The names under which this face may be called.
    pub allowed_hosts: Arc<AllowedHosts>,
    /// What may listen beyond loopback without TLS, by this member's settings.
    pub insecure: InsecureFaces,
    /// What this member is sending under idempotency keys.
    pub intents: Arc<OpenIntents>,
}

impl Context {
    /// Who leads, as of now.
    pub(crate) fn leadership(&self) -> Leadership {
        *self.cluster.node().leadership().borrow()
    }

    /// This member's id.
    pub(crate) fn me(&self) -> MemberId {
        self.cluster.node().id()
    }

    /// Whether a member is dead for sure, or has not been heard for longer than it should.
    pub(crate) fn is_silent(&self, member: MemberId) -> bool {
        self.cluster.node().silent().borrow().contains(&member)
    }

    /// One member by id.
    pub(crate) fn member(&self, id: MemberId) -> Option<MemberStatus> {
        self.cluster
            .node()
            .members()
            .into_iter()
            .find(|member| member.id == id)
    }

    /// How long another member is waited for.
    pub(crate) fn peer_wait(&self) -> Duration {
        (self.cluster.timing().failover * 2)
            .clamp(Duration::from_millis(500), Duration::from_secs(5))
    }
}

impl FromRef<Context> for Cluster {
    fn from_ref(context: &Context) -> Cluster {
        context.cluster.clone()
    }
}

/// Everything that the admin face answers.
pub fn router(context: Context) -> Router {
    Router::new()
        .merge(health::routes())
        .merge(leader::routes())
        .merge(members::routes())
        .merge(join::routes())
        .merge(transfer::routes())
        .merge(status::routes())
        .merge(settings::routes())
        .merge(takeovers::routes())
        .merge(own::routes())
        .merge(connectors::routes())
        .merge(invoke::routes())
        .merge(operate::routes())
        .merge(outgoing::routes())
        .merge(validate::routes())
        .merge(metrics::routes())
        .merge(config::routes())
        .merge(kv::routes())
        .merge(watch::routes())
        .fallback(refusal::unknown_path)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(middleware::from_fn_with_state(
            context.clone(),
            limits::within,
        ))
        .layer(middleware::from_fn_with_state(
            context.clone(),
            browser_guard::check,
        ))
        .layer(middleware::from_fn(rest_of_body::is_heard))
        .with_state(context)
}
