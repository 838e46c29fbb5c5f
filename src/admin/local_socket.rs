//! The local socket: the member's own user and root are administrators there.
//!
//! Whoever has the host has the data, so this gives away nothing. It is how the first administrator
//! is made, and the way back in when all tokens are lost.
//!
//! The socket has mode 0600 in a folder of mode 0700, and who connects is asked of the kernel
//! (`SO_PEERCRED`) besides. A socket's path may have 107 bytes, a folder's many more: the open folder
//! gives a short one.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::unistd::geteuid;
use quorate_platform::private_folder::{self, FolderError};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{authenticate::ConnectionOrigin, client_identity::AdminCaller};

/// Contents of the folder, in words.
const HOLDS: &str = "whoever reaches the socket in it commands the cluster";
/// The number of connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32;
/// The time for a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Reason why there is no local socket.
#[derive(Debug, thiserror::Error)]
pub enum LocalSocketError {
    /// The folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The system refused.
    #[error("the socket {}: {error}; security.local_admin = false does without it", path.display())]
    Io {
        /// The path of the socket.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// The socket, bound.
pub struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Binds the socket, in place of one that an earlier process has left.
    pub fn bind(path: &Path) -> Result<LocalSocket, LocalSocketError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        private_folder::make(folder, HOLDS)?;
        let failed = |error| LocalSocketError::Io {
            path: path.to_owned(),
            error,
        };
        let listener = bind_in(folder, path).map_err(failed)?;
        Ok(LocalSocket {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(permit) = slots.clone().acquire_owned().await else {
                break;
            };
            if !is_ours(&stream) {
                tracing::warn!(
                    "another user has connected to the local socket and is not answered"
                );
                continue;
            }
            let (router, shutdown) = (router.clone(), shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = answer(stream, router) => {}
                    () = shutdown.cancelled() => {}
                }
                drop(permit);
            });
        }
        // A leftover is no fault: the next start replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

fn bind_in(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let dir = File::open(folder)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let short = Path::new("/proc/self/fd")
        .join(dir.as_raw_fd().to_string())
        .join(name);
    // The lock on the data is no lock on what stands beside it.
    if std::os::unix::net::UnixStream::connect(&short).is_ok() {
        return Err(io::Error::other(
            "another member serves it: put the data of each into a folder of its own",
        ));
    }
    match fs::remove_file(&short) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&short)?;
    fs::set_permissions(&short, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Returns true for a connection of the member's own user or of root.
fn is_ours(stream: &UnixStream) -> bool {
    let peer = stream.peer_cred().map(|it| it.uid());
    peer.is_ok_and(|uid| uid == 0 || uid == geteuid().as_raw())
}

async fn answer(stream: UnixStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request
            .extensions_mut()
            .insert(ConnectionOrigin::LocalSocket);
        // Nobody shows a certificate there.
        request.extensions_mut().insert(AdminCaller::default());
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the local socket ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::{Extension, routing::get};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Security test 33, in part, and pitfall P11: a deep folder.
    // guarantee: ACCESS-6
    #[tokio::test]
    async fn deep_socket_is_private_and_served() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100)).join("run");
        let path = deep.join("admin.sock");
        fs::create_dir_all(&deep).unwrap();
        fs::write(&path, "left behind").unwrap();
        fs::set_permissions(&deep, Permissions::from_mode(0o755)).unwrap();
        let exposed = LocalSocket::bind(&path);
        assert!(matches!(exposed, Err(LocalSocketError::Folder(_))));
        fs::set_permissions(&deep, Permissions::from_mode(0o700)).unwrap();
        let socket = LocalSocket::bind(&path).unwrap();
        let second = LocalSocket::bind(&path).map(drop).unwrap_err();
        assert!(second.to_string().contains("another member"), "{second}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&deep)), (0o600, 0o700));
        let told = async |Extension(origin): Extension<ConnectionOrigin>| format!("{origin:?}");
        let router = Router::new().route("/", get(told));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(socket.serve(router, stop.clone()));
        let folder = File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/admin.sock", folder.as_raw_fd());
        let mut stream = UnixStream::connect(short).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("LocalSocket"), "{answer}");
        stop.cancel();
        serving.await.unwrap();
        assert!(!path.exists());
    }
}
