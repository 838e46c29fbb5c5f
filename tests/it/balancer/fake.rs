//! A member that is played: services, health, and the list of members.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::json;
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify};

/// What all the played members know: who belongs to the cluster.
#[derive(Clone, Default)]
pub struct Cluster(Arc<Mutex<Vec<Entry>>>);

/// Id, name, services, administration.
type Entry = (u64, String, SocketAddr, SocketAddr);

impl Cluster {
    pub fn join(&self, member: &Fake) {
        let entry = (member.id, member.name.clone(), member.http, member.admin);
        self.0.lock().push(entry);
    }

    pub fn leave(&self, member: &Fake) {
        self.0.lock().retain(|(id, ..)| *id != member.id);
    }

    fn answer(&self) -> String {
        let members: Vec<_> = self
            .0
            .lock()
            .iter()
            // In no order: that is for the balancer to make.
            .rev()
            .map(|(id, name, http, admin)| {
                json!({"id": id, "name": name, "role": "voter", "state": "up", "lag": 0,
                       "http": http.to_string(), "admin": admin.to_string()})
            })
            .collect();
        json!({ "members": members }).to_string()
    }
}

/// What the test can see and turn.
#[derive(Default)]
pub struct Controls {
    /// Each request that arrived, as `METHOD /path`.
    pub seen: Mutex<Vec<String>>,
    /// Reads each request and hangs up without an answer.
    pub hangs_up: AtomicBool,
    /// Says that it isn't ready.
    pub unready: AtomicBool,
    /// Requests for `/slow` wait for this.
    pub go_on: Notify,
}

/// A played member, on a runtime of its own: dropped, all its sockets close at once, as
/// those of a killed process do.
pub struct Fake {
    pub id: u64,
    pub name: String,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub controls: Arc<Controls>,
    runtime: Option<Runtime>,
}

impl Fake {
    pub fn start(cluster: &Cluster, id: u64) -> Fake {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Fake::start_at(cluster, id, any, any)
    }

    /// The same member again after its death.
    pub fn revive(cluster: &Cluster, dead: &Fake) -> Fake {
        Fake::start_at(cluster, dead.id, dead.http, dead.admin)
    }

    fn start_at(cluster: &Cluster, id: u64, http: SocketAddr, admin: SocketAddr) -> Fake {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let name = format!("member-{id}");
        let controls = Arc::new(Controls::default());
        let http = serve(&runtime, http, {
            let (controls, name) = (controls.clone(), name.clone());
            move |request| services(controls.clone(), name.clone(), request)
        });
        let admin = serve(&runtime, admin, {
            let (controls, cluster) = (controls.clone(), cluster.clone());
            move |request| administration(controls.clone(), cluster.clone(), request)
        });
        let runtime = Some(runtime);
        Fake {
            id,
            name,
            http,
            admin,
            controls,
            runtime,
        }
    }

    /// As kill -9 would. When it returns, connections are refused.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            while [self.http, self.admin]
                .iter()
                .any(|at| TcpStream::connect(at).is_ok())
            {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    pub fn requests(&self) -> usize {
        self.controls.seen.lock().len()
    }

    pub fn saw(&self, request: &str) -> usize {
        let seen = self.controls.seen.lock();
        seen.iter().filter(|line| *line == request).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve<F, A>(runtime: &Runtime, at: SocketAddr, handle: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Result<Response<Full<Bytes>>, &'static str>> + Send + 'static,
{
    let listener = std::net::TcpListener::bind(at).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let connection = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(handle.clone()));
            tokio::spawn(connection);
        }
    });
    address
}

async fn services(
    controls: Arc<Controls>,
    name: String,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let path = request.uri().path().to_owned();
    controls
        .seen
        .lock()
        .push(format!("{} {path}", request.method()));
    let _ = request.into_body().collect().await;
    if controls.hangs_up.load(Ordering::Relaxed) {
        // For hyper, an error of the service means to close the connection.
        return Err("hang up");
    }
    if path == "/slow" {
        let _ = tokio::time::timeout(Duration::from_secs(30), controls.go_on.notified()).await;
    }
    Ok(Response::new(Full::from(name)))
}

async fn administration(
    controls: Arc<Controls>,
    cluster: Cluster,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let (status, body) = match request.uri().path() {
        "/health/ready" if controls.unready.load(Ordering::Relaxed) => {
            (StatusCode::SERVICE_UNAVAILABLE, String::new())
        }
        "/health/ready" => (StatusCode::OK, String::new()),
        "/v1/cluster/members" => (StatusCode::OK, cluster.answer()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    Ok(response)
}
