//! One connection from its acceptance to its end.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::StatusCode;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use quorate_clock::Instant;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    client_limits::HEADERS_MAX,
    client_stream::{ClientStream, ConnectionPhase, ConnectionProgress, TrackedBody, last_answer},
    services_handler::{ClientContext, ServicesHandler},
    websocket_tunnel,
};
use crate::{api::format_duration, call_limiter::count_refused};

/// How long a client that is still sending is listened to after our last word.
const FAREWELL: Duration = Duration::from_secs(1);
/// More than a client has under way that reads our answer only after its whole body. It is the
/// time that bounds this.
const FAREWELL_BYTES_MAX: usize = 64 << 20;

/// How much of an answer waits in the kernel and is not on its way.
const UNSENT_BYTES: u32 = 128 << 10;

/// How often a connection that is to end is looked at.
const ENDING_TICK: Duration = Duration::from_millis(20);

/// The two orders that a connection gets: finish, and end.
#[derive(Clone)]
pub(super) struct ShutdownSignals {
    /// Finish what has begun, take nothing new after `linger`.
    pub stop: CancellationToken,
    /// End at once.
    pub cut: CancellationToken,
}

/// Serves a connection. Whether it was cut off before it was done.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    face: Arc<ServicesHandler>,
    orders: ShutdownSignals,
) -> bool {
    let _ = stream.set_nodelay(true);
    // Or what waits in the kernel would look like what the client doesn't take.
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let wire = ConnectionProgress::new(face.limits.taking());
    let service = service_fn({
        let (wire, face) = (wire.clone(), face.clone());
        move |request: hyper::Request<Incoming>| {
            let answering = wire.begin();
            let face = face.clone();
            async move {
                let asker = ClientContext {
                    peer,
                    answering: &answering,
                };
                let answer = face.answer(request, asker).await;
                Ok::<_, Infallible>(answer.map(|body| TrackedBody::new(body, answering)))
            }
        }
    });
    let limits = &face.limits;
    let mut connection = http1::Builder::new()
        .max_header_size(limits.head_bytes_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size((limits.head_bytes_max * 2).max(128 << 10))
        // Ours tells an idle connection from a slow request, and answers the latter.
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(ClientStream::new(stream, wire.clone())),
            service,
        );

    let tick = (limits.head_wait / 4).max(Duration::from_millis(5));
    let mut look = pin!(sleep_until(Instant::now() + tick));
    let mut stop_idle_at: Option<Instant> = None;
    let mut told = false;
    let last_word = loop {
        tokio::select! {
            biased;
            outcome = &mut connection => break match outcome {
                Err(error) if error.is_parse() && wire.phase() != ConnectionPhase::Busy && !wire.has_unread() => {
                    Some(last_answer(StatusCode::BAD_REQUEST, "the request can't be read as HTTP/1.1"))
                }
                Err(error) => {
                    tracing::debug!(%error, "connection of a client broke");
                    None
                }
                Ok(()) => None,
            },
            () = orders.cut.cancelled() => return true,
            () = orders.stop.cancelled(), if stop_idle_at.is_none() => {
                stop_idle_at = Some(Instant::now() + limits.linger);
                look.as_mut().reset(Instant::now() + ENDING_TICK.min(limits.linger));
            }
            () = look.as_mut() => {
                let now = Instant::now();
                match overdue(wire.phase(), limits.head_wait, limits.idle_wait, now) {
                    Some(ConnectionTimeout::Request) => break Some(last_answer(
                        StatusCode::REQUEST_TIMEOUT,
                        &format!("the request's headers did not arrive within {}", format_duration(limits.head_wait)),
                    )),
                    Some(ConnectionTimeout::Silence) => return false,
                    None if wire.is_stuck(now) => {
                        tracing::debug!(%peer, "a client takes next to nothing of its answer");
                        return false;
                    }
                    None => {}
                }
                // A request whose headers are coming in is waited for.
                let may_end = !told && !matches!(wire.phase(), ConnectionPhase::Head(_));
                if may_end && stop_idle_at.is_some_and(|at| at <= now) {
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                    told = true;
                }
                let pause = if stop_idle_at.is_some() && !told { ENDING_TICK } else { tick };
                look.as_mut().reset(Instant::now() + pause);
            }
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner().stream;
    if let Some(tunnel) = wire.take_tunnel() {
        return websocket_tunnel::run(stream, parts.read_buf, tunnel, &orders, limits.linger).await;
    }
    if last_word.is_some() || wire.has_unread() {
        let farewell = timeout(
            FAREWELL,
            farewell(&mut stream, last_word.as_deref().unwrap_or_default()),
        );
        tokio::select! {
            _ = farewell => {}
            () = orders.cut.cancelled() => {}
        }
    }
    false
}

/// Answers that there is no room for one more connection, and ends it. `room` is how many there
/// are.
pub(super) async fn reject_connection(mut stream: TcpStream, room: usize, cut: &CancellationToken) {
    count_refused("connection");
    let details = format!(
        "{room} connections are open to this member, as many as it takes \
         (http.connections_max); the request was not handled"
    );
    let answer = last_answer(StatusCode::SERVICE_UNAVAILABLE, &details);
    let answering = async {
        // A client that has not asked yet would not take it for its answer.
        stream.readable().await?;
        farewell(&mut stream, &answer).await
    };
    tokio::select! {
        _ = timeout(FAREWELL, answering) => {}
        () = cut.cancelled() => {}
    }
}

enum ConnectionTimeout {
    /// Begun, and not come to the end of its headers.
    Request,
    /// Nothing has been sent for too long.
    Silence,
}

fn overdue(
    phase: ConnectionPhase,
    head_wait: Duration,
    idle_wait: Duration,
    now: Instant,
) -> Option<ConnectionTimeout> {
    match phase {
        ConnectionPhase::Fresh(since) => {
            (now >= since + head_wait).then_some(ConnectionTimeout::Silence)
        }
        ConnectionPhase::Head(since) => {
            (now >= since + head_wait).then_some(ConnectionTimeout::Request)
        }
        ConnectionPhase::Idle(since) => {
            (now >= since + idle_wait).then_some(ConnectionTimeout::Silence)
        }
        ConnectionPhase::Busy => None,
    }
}

/// Says the last word and listens for a moment: a socket closed over unread data resets the
/// connection, and the client may lose what it was told.
async fn farewell(stream: &mut TcpStream, last_word: &[u8]) -> std::io::Result<()> {
    stream.write_all(last_word).await?;
    stream.shutdown().await?;
    let mut heard = 0;
    let mut buffer = vec![0; 16 << 10];
    while heard < FAREWELL_BYTES_MAX {
        match stream.read(&mut buffer).await? {
            0 => break,
            n => heard += n,
        }
    }
    Ok(())
}
