//! Metrics and log line of one request.

use http::StatusCode;
use quorate_clock::Instant;

/// One request, from its headers to its answer.
pub(super) struct RequestMetrics {
    begun: Instant,
    _in_flight: InFlightGuard,
}

struct InFlightGuard;

impl Drop for InFlightGuard {
    // Also when the client has gone and nobody wants the answer any more.
    fn drop(&mut self) {
        metrics::gauge!("quorate_http_requests_in_flight").decrement(1.0);
    }
}

impl RequestMetrics {
    pub(super) fn begin() -> RequestMetrics {
        metrics::gauge!("quorate_http_requests_in_flight").increment(1.0);
        RequestMetrics {
            begun: Instant::now(),
            _in_flight: InFlightGuard,
        }
    }

    /// Counts the end. `channel`: `None` when the request was for none, so that names that clients
    /// make up do not become labels.
    pub(super) fn end(self, channel: Option<&str>, status: StatusCode) {
        let took = self.begun.elapsed();
        let channel = channel.unwrap_or_default().to_owned();
        tracing::debug!(
            channel,
            status = status.as_u16(),
            took_us = took.as_micros() as u64,
            "answered"
        );
        metrics::counter!("quorate_http_requests_total",
            "channel" => channel.clone(), "status" => status.as_str().to_owned())
        .increment(1);
        metrics::histogram!("quorate_http_request_seconds", "channel" => channel)
            .record(took.as_secs_f64());
    }
}

/// One open connection.
pub(super) struct ConnectionMetrics;

impl ConnectionMetrics {
    pub(super) fn begin() -> ConnectionMetrics {
        metrics::gauge!("quorate_http_connections").increment(1.0);
        ConnectionMetrics
    }
}

impl Drop for ConnectionMetrics {
    fn drop(&mut self) {
        metrics::gauge!("quorate_http_connections").decrement(1.0);
    }
}
