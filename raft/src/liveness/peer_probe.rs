//! Probe of one member's process: holds a connection, and finds out why it was lost.
//!
//! Under TLS the connection is one that has made the handshake: a listener cuts off what does not,
//! and a stranger at the address would else be taken for the member. Only the beginning is
//! different. What is held after it is the connection below, which its end closes or resets in the
//! same moment and for the same reasons as a plain one, and what the other side writes on it is
//! ignored as ever. A death is proved as before, by attempts that are refused: those stay plain,
//! since whoever is refused gets to no handshake. So a dead process is seen dead no later.

use std::{
    io::{Error, ErrorKind, Result},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_tls::{ExpectedMember, MemberConnector};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::rules::{DeathSuspicion, PeerLiveness, ProbeDecision, ProbeResult};

/// Pause between two attempts while a process is suspected to have died.
const PROBE_PAUSE: Duration = Duration::from_millis(1);

/// Time that such an attempt may take.
const PROBE_PATIENCE: Duration = Duration::from_millis(200);

/// Time that an attempt may take when nothing is suspected.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// Pauses between two attempts at a member that can't be reached.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(100)];

/// Age from which a connection proves that it was to a process that ran.
const SETTLED: Duration = Duration::from_millis(200);

/// Keep-alive time: keeps what lies in between from forgetting an idle connection, and finds
/// out about one whose other end has vanished.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Handshakes that fail are told once a minute for each address.
static REFUSALS: RateLimit = RateLimit::new(Duration::from_secs(60));

/// TLS to a member, and the member that must answer.
pub(super) type ProbeTls = Option<(Arc<MemberConnector>, ExpectedMember)>;

/// Holds a connection to `address` until it is dropped, and reports what it shows. `tls` says how
/// the member is called at the time.
pub(super) async fn probe_peer(
    address: &str,
    tls: impl Fn() -> ProbeTls,
    report: impl Fn(PeerLiveness),
) {
    let mut failed = 0;
    loop {
        let connecting = timeout(CONNECT_PATIENCE, TcpStream::connect(address));
        let connected = connecting.await.unwrap_or(Err(ErrorKind::TimedOut.into()));
        match connected {
            Ok(stream) => match through_handshake(stream, tls()).await {
                Ok(stream) => {
                    failed = 0;
                    let last = until_lost(stream, &tls, &report).await;
                    report(last.unwrap_or(PeerLiveness::Unknown));
                }
                Err(why) => {
                    // It goes on until someone mends it.
                    if let Some(left_out) = REFUSALS.due(address) {
                        tracing::warn!(address, left_out, "no TLS to a member: {why}");
                    }
                    report(PeerLiveness::Unknown);
                }
            },
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => report(PeerLiveness::Absent),
            Err(_) => report(PeerLiveness::Unknown),
        }
        sleep(PAUSES[failed.min(PAUSES.len() - 1)]).await;
        failed += 1;
    }
}

/// Returns the last state of the process, if that is known.
async fn until_lost(
    mut stream: TcpStream,
    tls: &impl Fn() -> ProbeTls,
    report: &impl Fn(PeerLiveness),
) -> Option<PeerLiveness> {
    let mut suspicion = DeathSuspicion::default();
    let address = stream.peer_addr().ok()?;
    loop {
        report(PeerLiveness::Alive);
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
                ProbeDecision::Connected => {
                    break through_handshake(stream?, tls()).await.ok()?;
                }
            }
            sleep(PROBE_PAUSE).await;
        };
    }
}

/// Makes the handshake, where there is one, and returns the connection below.
async fn through_handshake(stream: TcpStream, tls: ProbeTls) -> Result<TcpStream> {
    let Some((connector, expected)) = tls else {
        return Ok(stream);
    };
    let stream = connector.handshake(stream, &expected).await?;
    Ok(stream.into_inner().0)
}

/// Waits until the connection is over; true when the other side has closed or reset it.
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
