//! The administration API: REST, health and metrics. Errors are problem+json with a `code`.

mod access;
pub mod audit;
mod authenticate;
mod bearer_token;
mod body_budget;
mod browser_guard;
mod caller;
pub mod certificates;
pub mod client_identity;
pub mod cluster_answers;
mod cluster_settings;
mod compute_slots;
pub mod config;
mod connection_table;
mod connectors;
mod health;
mod invoke;
mod join;
pub mod kv;
mod leader;
mod local_socket;
mod login_guard;
pub mod member_report;
mod members;
pub mod metrics;
mod on_behalf;
pub mod operate;
pub mod outgoing;
pub mod peers;
mod placed_service;
pub mod problem;
mod proposed_write;
mod request_timeout;
mod revision_headers;
pub mod secret_keys;
mod serve;
pub mod standbys;
mod status;
pub mod takeovers;
pub mod tokens;
mod transfer;
mod unread_body;
pub mod validate;
pub mod warnings;
pub mod watch;
pub mod whoami;

use std::{sync::Arc, time::Duration};

use access::Routes;
use axum::{
    Router,
    extract::{FromRef, Request},
    middleware::{self, Next},
    response::Response,
};
use outgoing::OpenIntents;
use peers::AdminPeers;
use quorate_service::Services;
use quorate_supervisor as connector;
use quorate_tls::MemberTls;
use quorate_types::{Leadership, MemberId, MemberStatus};
use tokio::sync::watch::Receiver;
use tracing::{Instrument, field::Empty};

use crate::{cluster::ClusterHandle, settings::InsecureFaces};

pub use authenticate::AccessGate;
pub use browser_guard::AllowedHosts;
pub use caller::CallerProof;
pub use local_socket::{LocalSocket, LocalSocketError};
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
    /// The way in: who is asked who he is, and what failed.
    pub access: Arc<AccessGate>,
    /// The listeners that may be reached beyond loopback without TLS, by this member's settings.
    pub insecure: InsecureFaces,
    /// Sentences on what this member's host can't do for it.
    pub host_warnings: Arc<[String]>,
    /// The member's certificate, if it has TLS.
    pub tls: Option<Arc<MemberTls>>,
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
    routes()
        .into_router()
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(middleware::from_fn_with_state(
            context.clone(),
            request_timeout::enforce_timeout,
        ))
        // Who is not let in takes no room from others.
        .layer(middleware::from_fn_with_state(
            body_budget::BodyBudget::for_requests(),
            body_budget::admit_request,
        ))
        .layer(middleware::from_fn_with_state(
            context.clone(),
            authenticate::authenticate,
        ))
        .layer(middleware::from_fn_with_state(
            context.clone(),
            browser_guard::check,
        ))
        .layer(middleware::from_fn(unread_body::drain_unread))
        .layer(middleware::from_fn(in_span))
        .with_state(context)
}

/// Collects all calls, each behind its entry of the table in [`access`].
fn routes() -> Routes<AdminContext> {
    Routes::new()
        .merge(health::routes())
        .merge(whoami::routes())
        .merge(tokens::routes())
        .merge(audit::routes())
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
        .merge(secret_keys::routes())
}

/// Runs a request in a span of its own, without the query, which may hold what is secret. A handler
/// that calls a service or sends a message records its `cid`.
async fn in_span(request: Request, next: Next) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::info_span!("admin_request", %method, path, cid = Empty);
    next.run(request).instrument(span).await
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::{body::Body, routing::post};
    use parking_lot::Mutex;
    use tower::ServiceExt;

    use super::*;

    #[derive(Clone, Default)]
    struct LogBuffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for LogBuffer {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn request_span_has_path_and_cid_and_no_query() {
        let log = LogBuffer::default();
        let written = log.0.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let handler = async || {
            tracing::Span::current().record("cid", "K1");
            tracing::info!("asked");
        };
        let router = Router::new()
            .route("/v1/asked", post(handler))
            .layer(middleware::from_fn(in_span));
        let request = http::Request::post("/v1/asked?password=abc").body(Body::empty());
        router.oneshot(request.unwrap()).await.unwrap();
        let lines = String::from_utf8(written.lock().clone()).unwrap();
        let span = r#"admin_request{method=POST path="/v1/asked" cid="K1"}: "#;
        assert!(lines.contains(span), "{lines}");
        assert!(!lines.contains("abc"), "{lines}");
    }
}
