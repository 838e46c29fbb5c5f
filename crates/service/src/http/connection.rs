//! One client connection from its acceptance to its end.

use std::{
    convert::Infallible, net::SocketAddr, ops::ControlFlow, pin::pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use quorate_clock::Instant;
use quorate_tls::FaceStream;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    client_limits::{ClientLimits, HEADERS_MAX},
    client_origin::ClientOrigin,
    client_stream::{
        AnsweringGuard, ClientStream, ConnectionPhase, ConnectionProgress, TrackedBody,
    },
    error_envelope::last_answer,
    services_handler::{ClientContext, ServicesHandler},
    shutdown_signals::ShutdownSignals,
    websocket_tunnel,
};
use crate::{api::format_duration, call_limiter::count_refused};

/// Time for which a client that is still sending is listened to after the last answer.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes that are read meanwhile: more than a client has under way that reads our answer only after
/// its whole body. The time is the real bound.
const FAREWELL_BYTES_MAX: usize = 64 << 20;

/// Bytes of an answer that wait in the kernel and are not on their way.
const UNSENT_BYTES: u32 = 128 << 10;

/// Interval at which a connection that is to end is looked at.
const ENDING_TICK: Duration = Duration::from_millis(20);

/// Serves a connection. Returns true when it was cut off before it was done.
pub(super) async fn serve(
    stream: FaceStream,
    peer: SocketAddr,
    handler: Arc<ServicesHandler>,
    signals: ShutdownSignals,
) -> bool {
    let _ = stream.tcp().set_nodelay(true);
    // Otherwise what waits in the kernel would look like what the client doesn't take.
    let _ = SockRef::from(stream.tcp()).set_tcp_notsent_lowat(UNSENT_BYTES);
    let origin = Arc::new(ClientOrigin::new(peer, &stream));
    let progress = ConnectionProgress::new(handler.limits.taking());
    let service = service_fn({
        let (handler, progress) = (handler.clone(), progress.clone());
        let origin = origin.clone();
        move |request: hyper::Request<Incoming>| {
            answer(handler.clone(), progress.begin(), origin.clone(), request)
        }
    });
    let limits = &handler.limits;
    let mut connection = http1::Builder::new()
        .max_header_size(limits.head_bytes_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size((limits.head_bytes_max * 2).max(128 << 10))
        // `ConnectionProgress` tells an idle connection from a slow request, and answers the
        // latter.
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(ClientStream::new(stream, progress.clone())),
            service,
        );

    let tick = (limits.head_wait / 4).max(Duration::from_millis(5));
    let mut look = pin!(sleep_until(Instant::now() + tick));
    let mut stop_idle_at: Option<Instant> = None;
    let mut finishing = false;
    let last = loop {
        tokio::select! {
            biased;
            outcome = &mut connection => break match outcome {
                Err(error) if error.is_parse() && progress.phase() != ConnectionPhase::Busy && !progress.has_unread() => {
                    Some(last_answer(StatusCode::BAD_REQUEST, "the request can't be read as HTTP/1.1"))
                }
                Err(error) => {
                    tracing::debug!(%error, "connection of a client broke");
                    None
                }
                Ok(()) => None,
            },
            () = signals.cut.cancelled() => return true,
            () = signals.stop.cancelled(), if stop_idle_at.is_none() => {
                stop_idle_at = Some(Instant::now() + limits.linger);
                look.as_mut().reset(Instant::now() + ENDING_TICK.min(limits.linger));
            }
            () = look.as_mut() => {
                let now = Instant::now();
                match check_timeouts(&progress, limits, peer, now) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(Some(answer)) => break Some(answer),
                    ControlFlow::Break(None) => return false,
                }
                // A request whose headers are coming in is waited for.
                let may_end = !finishing && !matches!(progress.phase(), ConnectionPhase::Head(_));
                if may_end && stop_idle_at.is_some_and(|at| at <= now) {
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                    finishing = true;
                }
                let pause = if stop_idle_at.is_some() && !finishing { ENDING_TICK } else { tick };
                look.as_mut().reset(Instant::now() + pause);
            }
        }
    };
    let parts = connection.into_parts();
    let stream = parts.io.into_inner().stream;
    if let Some(tunnel) = progress.take_tunnel() {
        return websocket_tunnel::run(stream, parts.read_buf, tunnel, &signals, limits.linger)
            .await;
    }
    if last.is_some() || progress.has_unread() {
        end(stream, last, &signals).await;
    }
    false
}

/// Breaks with the last answer for a connection that takes too long, or without one.
fn check_timeouts(
    progress: &ConnectionProgress,
    limits: &ClientLimits,
    peer: SocketAddr,
    now: Instant,
) -> ControlFlow<Option<Bytes>> {
    match overdue(progress.phase(), limits.head_wait, limits.idle_wait, now) {
        Some(ConnectionTimeout::Request) => {
            let wait = format_duration(limits.head_wait);
            ControlFlow::Break(Some(last_answer(
                StatusCode::REQUEST_TIMEOUT,
                &format!("the request's headers did not arrive within {wait}"),
            )))
        }
        Some(ConnectionTimeout::Silence) => ControlFlow::Break(None),
        None if progress.is_stuck(now) => {
            tracing::debug!(%peer, "a client takes next to nothing of its answer");
            ControlFlow::Break(None)
        }
        None => ControlFlow::Continue(()),
    }
}

/// Answers one request of a connection.
async fn answer(
    handler: Arc<ServicesHandler>,
    answering: AnsweringGuard,
    origin: Arc<ClientOrigin>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<TrackedBody>, Infallible> {
    let client = ClientContext {
        origin: &origin,
        answering: &answering,
    };
    let answer = handler.answer(request, client).await;
    Ok(answer.map(|body| TrackedBody::new(body, answering)))
}

/// Sends the last answer and listens for a moment, unless the connection is cut off before.
async fn end(mut stream: FaceStream, last: Option<Bytes>, signals: &ShutdownSignals) {
    let farewell = timeout(
        FAREWELL,
        farewell(&mut stream, last.as_deref().unwrap_or_default()),
    );
    tokio::select! {
        _ = farewell => {}
        () = signals.cut.cancelled() => {}
    }
}

/// Refuses a connection for want of room, and ends it. `room` is how many connections there are.
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

/// Sends the last answer and listens for a moment: a socket closed over unread data resets the
/// connection, and the client may lose the answer.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    last: &[u8],
) -> std::io::Result<()> {
    stream.write_all(last).await?;
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
