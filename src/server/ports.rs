//! The three ports of a member, bound before anything else is begun.

use std::{
    io,
    net::{self, SocketAddr},
};

use quorate_clock::Instant;
use quorate_platform::{
    pid_file,
    port_binding::{self, PortTaken},
};
use quorate_raft::closed_first;
use tokio::{
    net::TcpListener,
    time::{Duration, sleep},
};

use super::ServerError;
use crate::settings::Settings;

const LOOK: Duration = Duration::from_millis(50);

/// The listeners, bound and not yet served.
pub(super) struct BoundPorts {
    pub http: TcpListener,
    pub admin: TcpListener,
    pub peer: TcpListener,
}

impl BoundPorts {
    /// Binds the ports; waits as long as for the lock on the data: an earlier process of this
    /// member may be about to end, and it holds both.
    pub(super) async fn bind(settings: &Settings) -> Result<BoundPorts, ServerError> {
        let deadline = Instant::now() + settings.lock_wait;
        let http = bind("http", settings.http.bind, deadline, settings).await?;
        let admin = bind("admin", settings.admin.bind, deadline, settings).await?;
        let peer = bind("peer", settings.peer.bind, deadline, settings).await?;
        let ready = || {
            Ok(BoundPorts {
                http: TcpListener::from_std(http)?,
                admin: TcpListener::from_std(admin)?,
                peer: TcpListener::from_std(closed_first(peer))?,
            })
        };
        ready().map_err(|error: io::Error| ServerError::Refused(error.to_string()))
    }
}

async fn bind(
    what: &str,
    address: SocketAddr,
    deadline: Instant,
    settings: &Settings,
) -> Result<net::TcpListener, ServerError> {
    loop {
        let taken = match port_binding::listen(what, address) {
            Ok(listener) => return Ok(listener),
            Err(taken) => taken,
        };
        if taken.cause.kind() != io::ErrorKind::AddrInUse || Instant::now() >= deadline {
            return Err(ServerError::Refused(describe_taken_port(
                what, &taken, settings,
            )));
        }
        sleep(LOOK).await;
    }
}

fn describe_taken_port(what: &str, taken: &PortTaken, settings: &Settings) -> String {
    let other = pid_file::read(&settings.pid_file);
    match (&taken.owner, other) {
        (Some(owner), Some(pid)) if owner.ends_with(&format!("(process {pid})")) => format!(
            "{} is running already: process {pid} holds {} and its ports; waited {} ms for it to end",
            settings.name,
            settings.data_dir.display(),
            settings.lock_wait.as_millis()
        ),
        _ => format!("{taken}; end what holds it, or set {what}.bind to another port"),
    }
}
