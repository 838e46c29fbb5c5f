//! The three listeners of a member: peers, services, administration.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use futures_util::{FutureExt, StreamExt, future::ready};
use quorate_raft::{Node, PeerIncoming};
use quorate_service::{InvokeServer, Services, http};
use quorate_state::State;
use quorate_tls::{FaceListener, MemberTls};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::critical_tasks::{CriticalTasks, PartError};
use crate::{
    admin,
    cluster::ClusterHandle,
    settings::{HttpLimits, LoopbackUsers, Settings},
};

/// The time for requests on the admin port, which are short; longer ones have their own deadline.
const ADMIN_DRAIN: Duration = Duration::from_millis(500);

/// The order to stop a listener, and the notice of its end.
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
    /// Stops the listener; waits at most `wait` for the requests that run.
    pub(super) async fn stop(&mut self, wait: Duration) {
        self.token.cancel();
        if let Some(stopped) = self.stopped.take() {
            let _ = timeout(wait, stopped).await;
        }
    }

    /// Runs a listener under this order. Its end is a loss unless it was ordered.
    fn run<T, E: Into<PartError> + Send + 'static>(
        &mut self,
        part: &str,
        tasks: &mut CriticalTasks,
        listener: impl Future<Output = Result<T, E>> + Send + 'static,
    ) {
        let (ended, stopped) = oneshot::channel();
        self.stopped = Some(stopped);
        let token = self.token.clone();
        tasks.spawn(part, async move {
            let outcome = listener.await.map(|_| ());
            let _ = ended.send(());
            if token.is_cancelled() {
                std::future::pending().await
            } else {
                outcome
            }
        });
    }
}

/// The listeners that run.
#[derive(Default)]
pub(super) struct MemberListeners {
    pub peer: ListenerStop,
    pub http: ListenerStop,
    pub admin: ListenerStop,
}

impl MemberListeners {
    /// Serves consensus and calls of services to other members. All of it runs on `consensus`, but
    /// for the services themselves, which run on the caller's runtime.
    pub(super) fn peer(
        &mut self,
        listener: TcpListener,
        consensus: &Handle,
        cluster: &ClusterHandle,
        services: Arc<Services>,
        users: LoopbackUsers,
        tls: Option<&MemberTls>,
        tasks: &mut CriticalTasks,
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
        let timing = cluster.watch_timing();
        let pause = Arc::new(move || timing.borrow().lease.lease / 2);
        let catch_up = Arc::new(catch_up);
        let here = Handle::current();
        // Everything that is made from here on belongs to that runtime.
        let within = consensus.enter();
        let invoke = InvokeServer::new(node.cluster(), node.id(), services, here, pause, catch_up);
        let mut server = quorate_raft::peer_server();
        let routes = server.add_routes(node.routes()).add_service(invoke);
        let listener = TcpListener::from_std(listener.into_std()?)?;
        let incoming = PeerIncoming::new(listener, tls.map(MemberTls::peer_acceptor))
            // One that can't be asked any more is dropped as well.
            .filter(move |it| ready(it.as_ref().map_or(true, |it| users.admit(it.tcp()))));
        let stop = self.peer.token.clone().cancelled_owned();
        drop(within);
        let serving = consensus.spawn(routes.serve_with_incoming_shutdown(incoming, stop));
        self.peer.run("the peer port", tasks, async move {
            match serving.await {
                Ok(ended) => ended.map_err(PartError::from),
                Err(panic) => Err(panic.into()),
            }
        });
        Ok(())
    }

    /// Serves the services' channels.
    pub(super) fn http(
        &mut self,
        listener: TcpListener,
        services: Arc<Services>,
        state: watch::Receiver<Arc<State>>,
        settings: &Settings,
        tasks: &mut CriticalTasks,
    ) {
        let limits = limits(&settings.http_limits, settings.drain);
        let token = self.http.token.clone();
        self.http.run("the http port", tasks, async move {
            let drained = http::serve(listener, services, state, limits, token).await;
            if drained.cut > 0 {
                tracing::warn!(
                    cut = drained.cut,
                    "connections were cut off because their requests did not finish in time"
                );
            }
            Ok::<(), PartError>(())
        });
    }

    /// Serves REST at the local socket, for as long as the port.
    pub(super) fn local_socket(
        &mut self,
        socket: admin::LocalSocket,
        router: Router,
        tasks: &mut CriticalTasks,
    ) {
        let token = self.admin.token.clone();
        tasks.background("the local socket", socket.serve(router, token));
    }

    /// Serves REST, health and metrics.
    pub(super) fn admin(
        &mut self,
        listener: TcpListener,
        router: Router,
        users: LoopbackUsers,
        tls: Option<&MemberTls>,
        tasks: &mut CriticalTasks,
    ) {
        let token = self.admin.token.clone();
        let listener = FaceListener::new(listener, tls.map(MemberTls::admin_acceptor));
        self.admin.run("the admin port", tasks, async move {
            admin::serve(listener, router, users, token, ADMIN_DRAIN).await
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
        certificate_proxies: allowed.certificate_proxies.clone(),
        grace: drain,
        ..http::ClientLimits::default()
    }
}
