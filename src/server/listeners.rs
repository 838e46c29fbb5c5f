//! The three listeners, and how to stop each.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use futures_util::FutureExt;
use quorate_raft::Node;
use quorate_service::{InvokeServer, Services, http};
use quorate_state::State;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use super::critical_tasks::CriticalTasks;
use crate::{
    admin,
    cluster::ClusterHandle,
    settings::{HttpLimits, Settings},
};

/// Requests on the admin face are short; those that are not have a deadline of their own.
const ADMIN_DRAIN: Duration = Duration::from_millis(500);

/// The order to stop a face, and the word that it has.
pub(super) struct ListenerStop {
    token: CancellationToken,
    stopped: Option<oneshot::Receiver<()>>,
}

impl Default for ListenerStop {
    fn default() -> Self {
        ListenerStop {
            token: CancellationToken::new(),
            stopped: None,
        }
    }
}

impl ListenerStop {
    /// Stops the face; waits at most `wait` for what runs on it.
    pub async fn stop(&mut self, wait: Duration) {
        self.token.cancel();
        if let Some(stopped) = self.stopped.take() {
            let _ = timeout(wait, stopped).await;
        }
    }

    /// Runs a face under this order. Its end is a loss unless it was ordered.
    fn run<T>(
        &mut self,
        part: &str,
        vital: &mut CriticalTasks,
        face: impl Future<Output = Result<T, String>> + Send + 'static,
    ) {
        let (told, stopped) = oneshot::channel();
        self.stopped = Some(stopped);
        let token = self.token.clone();
        vital.spawn(part, async move {
            let ended = face.await.map(|_| ());
            let _ = told.send(());
            match token.is_cancelled() {
                true => std::future::pending().await,
                false => ended,
            }
        });
    }
}

/// The faces.
#[derive(Default)]
pub(super) struct MemberListeners {
    pub peer: ListenerStop,
    pub http: ListenerStop,
    pub admin: ListenerStop,
}

impl MemberListeners {
    /// Consensus and calls of services, from other members. All of it is served on
    /// `consensus`, but for the services themselves, which run here.
    pub fn peer(
        &mut self,
        listener: TcpListener,
        consensus: &Handle,
        cluster: &ClusterHandle,
        services: Arc<Services>,
        vital: &mut CriticalTasks,
    ) -> io::Result<()> {
        let node: &Node = cluster.node();
        let fresh = cluster.clone();
        let catch_up = move |deadline| {
            let cluster = fresh.clone();
            async move {
                let caught_up = cluster.fresh_state(deadline).await;
                caught_up.map(drop)
            }
            .boxed()
        };
        let pace = cluster.watch_pace();
        let pause = Arc::new(move || pace.borrow().lease.lease / 2);
        let catch_up = Arc::new(catch_up);
        let here = Handle::current();
        // What is made from here on belongs to that runtime.
        let within = consensus.enter();
        let invoke = InvokeServer::new(node.cluster(), node.id(), services, here, pause, catch_up);
        let mut server = quorate_raft::peer_server();
        let routes = server.add_routes(node.routes()).add_service(invoke);
        // Consensus is many small messages that each wait for an answer.
        let incoming = TcpIncoming::from(TcpListener::from_std(listener.into_std()?)?)
            .with_nodelay(Some(true));
        let stop = self.peer.token.clone().cancelled_owned();
        drop(within);
        let serving = consensus.spawn(routes.serve_with_incoming_shutdown(incoming, stop));
        self.peer.run("the peer port", vital, async move {
            match serving.await {
                Ok(ended) => ended.map_err(|error| error.to_string()),
                Err(panic) => Err(panic.to_string()),
            }
        });
        Ok(())
    }

    /// The services.
    pub fn http(
        &mut self,
        listener: TcpListener,
        services: Arc<Services>,
        state: watch::Receiver<Arc<State>>,
        settings: &Settings,
        vital: &mut CriticalTasks,
    ) {
        let limits = limits(&settings.http_limits, settings.drain);
        let token = self.http.token.clone();
        self.http.run("the http port", vital, async move {
            let drained = http::serve(listener, services, state, limits, token).await;
            if drained.cut > 0 {
                tracing::warn!(
                    cut = drained.cut,
                    "connections were cut off because their requests did not finish in time"
                );
            }
            Ok(())
        });
    }

    /// REST, health and metrics.
    pub fn admin(&mut self, listener: TcpListener, router: Router, vital: &mut CriticalTasks) {
        let token = self.admin.token.clone();
        self.admin.run("the admin port", vital, async move {
            admin::serve(listener, router, token, ADMIN_DRAIN)
                .await
                .map_err(|error| error.to_string())
        });
    }
}

fn limits(allowed: &HttpLimits, drain: Duration) -> http::ClientLimits {
    http::ClientLimits {
        connections_max: allowed.connections_max,
        head_bytes_max: allowed.head_bytes_max,
        head_wait: allowed.head_wait,
        body_wait: allowed.body_wait,
        idle_wait: allowed.idle_wait,
        trusted_proxies: allowed.trusted_proxies.clone(),
        grace: drain,
        ..http::ClientLimits::default()
    }
}
