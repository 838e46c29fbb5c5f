//! The connection to one member's process.

use std::{
    io::{Error, ErrorKind, Result},
    net::SocketAddr,
    time::Duration,
};

use quorate_clock::Instant;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    PeerLiveness,
    rules::{DeathSuspicion, ProbeDecision, ProbeResult},
};

/// Between two attempts while a process is suspected to have died.
const PROBE_PAUSE: Duration = Duration::from_millis(1);

/// How long such an attempt may take.
const PROBE_PATIENCE: Duration = Duration::from_millis(200);

/// How long an attempt may take when nothing is suspected.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// Between two attempts at a member that can't be reached.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(100)];

/// A connection that has lasted for so long was to a process that ran.
const SETTLED: Duration = Duration::from_millis(200);

/// Keeps what lies in between from forgetting an idle connection, and finds out about one
/// whose other end has vanished.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Holds a connection to `address` for as long as it is asked to, and tells the signs.
pub(super) async fn probe_peer(address: &str, tell: impl Fn(PeerLiveness)) {
    let mut failed = 0;
    loop {
        let connecting = timeout(CONNECT_PATIENCE, TcpStream::connect(address));
        let connected = connecting.await.unwrap_or(Err(ErrorKind::TimedOut.into()));
        match connected {
            Ok(stream) => {
                failed = 0;
                let last = until_lost(stream, &tell).await;
                tell(last.unwrap_or(PeerLiveness::Unknown));
            }
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => tell(PeerLiveness::Absent),
            Err(_) => tell(PeerLiveness::Unknown),
        }
        sleep(PAUSES[failed.min(PAUSES.len() - 1)]).await;
        failed += 1;
    }
}

/// Returns what became of the process, if that is known.
async fn until_lost(mut stream: TcpStream, tell: &impl Fn(PeerLiveness)) -> Option<PeerLiveness> {
    let mut suspicion = DeathSuspicion::default();
    let address = stream.peer_addr().ok()?;
    loop {
        tell(PeerLiveness::Alive);
        let since = Instant::now();
        if !closed(stream).await {
            return None;
        }
        if since.elapsed() >= SETTLED {
            suspicion = DeathSuspicion::default();
        }
        stream = loop {
            let (attempt, stream) = probe(address).await;
            match suspicion.after(attempt) {
                ProbeDecision::Dead => return Some(PeerLiveness::Dead(Instant::now())),
                ProbeDecision::GiveUp => return None,
                ProbeDecision::Again => {}
                ProbeDecision::Connected => break stream?,
            }
            sleep(PROBE_PAUSE).await;
        };
    }
}

/// Waits until the connection is over: true when the other side has closed or reset it.
async fn closed(mut stream: TcpStream) -> bool {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(3);
    if let Err(why) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!("a connection without keep-alive: {why}");
    }
    let mut ignored = [0; 256];
    loop {
        match stream.read(&mut ignored).await {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return reset(&e),
        }
    }
}

fn reset(e: &Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(
        e.kind(),
        ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected
    )
}

async fn probe(address: SocketAddr) -> (ProbeResult, Option<TcpStream>) {
    let connected: Result<_> = match timeout(PROBE_PATIENCE, TcpStream::connect(address)).await {
        Ok(connected) => connected,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    };
    match connected {
        Ok(stream) => (ProbeResult::Accepted, Some(stream)),
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => (ProbeResult::Refused, None),
        Err(e) if reset(&e) => (ProbeResult::Reset, None),
        Err(_) => (ProbeResult::Unclear, None),
    }
}
