//! `GET /metrics`: Prometheus text. One recorder for the whole process.

mod recorder;

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use axum::{extract::State, http::header, response::IntoResponse};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use quorate_resources::Kind;
use quorate_state::Catalog;
use quorate_supervisor::{ConnectorState, ConnectorStatus};

use self::recorder::{MemberRecorder, MetricsHandle, SeriesName};
use super::{
    AdminContext,
    access::{self, Routes},
};

/// The histogram buckets in seconds, from a fast disk's fsync to a slow service.
const BUCKETS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The interval at which old samples are folded when nobody scrapes.
pub const UPKEEP: Duration = Duration::from_secs(10);

static RECORDER: OnceLock<Option<MetricsHandle>> = OnceLock::new();

/// Makes the process's recorder, the first time. `None` where a program that embeds a member has a
/// recorder of its own: then the metrics are there.
pub fn recorder() -> Option<MetricsHandle> {
    RECORDER
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS);
            let recorder = match builder {
                Ok(builder) => MemberRecorder::new(builder.build_recorder()),
                Err(error) => {
                    tracing::warn!(%error, "/metrics stays empty");
                    return None;
                }
            };
            let recorded = recorder.recorded();
            if let Err(error) = metrics::set_global_recorder(recorder) {
                tracing::warn!(%error, "/metrics stays empty: the process has another recorder");
                return None;
            }
            describe();
            Some(recorded)
        })
        .clone()
}

/// Returns true if a connector is declared, active or not.
pub fn is_declared(catalog: &Catalog, kind: &str, name: &str) -> bool {
    let kind = kind.parse::<Kind>();
    kind.is_ok_and(|kind| catalog.get(kind, name).is_some())
}

/// Describes the metrics that matter first.
fn describe() {
    describe_gauge!("quorate_is_leader", "1 on the member that leads");
    describe_gauge!(
        "quorate_term",
        "The member's term; every step up is an election"
    );
    describe_gauge!(
        "quorate_applied_index",
        "The last log index that the member has applied"
    );
    describe_gauge!(
        "quorate_members",
        "Members by role, as this member sees them"
    );
    describe_gauge!(
        "quorate_insecure",
        "1 where the member's settings let something listen beyond loopback without TLS"
    );
    describe_gauge!(
        "quorate_connector_sandbox_abi",
        "The version of Landlock that keeps connector processes in their sandbox; 0 where there is none"
    );
    describe_gauge!(
        "quorate_secret_key_version",
        "The version of the cluster's key that the member seals secrets by; 0 while it has none"
    );
    describe_gauge!(
        "quorate_certificate_expiry_seconds",
        Unit::Seconds,
        "The time that a certificate has left: of the member, of the authority that it trusts"
    );
    describe_counter!(
        "quorate_certificate_reload_failures_total",
        "Looks at files of certificates that were bad, so that the old ones stayed"
    );
    describe_counter!(
        "quorate_tls_handshakes_total",
        "Handshakes by port and outcome"
    );
    describe_gauge!(
        "quorate_leader_heard_seconds",
        Unit::Seconds,
        "How long ago the leader, or as leader a quorum, was heard"
    );
    describe_gauge!(
        "quorate_connector_epoch",
        "The epoch under which this member ran connectors last"
    );
    describe_gauge!(
        "quorate_connector_lease_remaining_seconds",
        Unit::Seconds,
        "How long the connectors may go on acting; 0 on members that are not the connector server"
    );
    describe_counter!(
        "quorate_takeovers_total",
        "Takeovers by this member, by reason"
    );
    describe_histogram!(
        "quorate_takeover_seconds",
        Unit::Seconds,
        "From the last word of the connector server before to the last connector at work"
    );
    describe_gauge!(
        "quorate_connector_ready",
        "1 where this member's process of a connector consumes or stands by"
    );
    describe_gauge!(
        "quorate_connector_stalled_seconds",
        Unit::Seconds,
        "For how long messages have waited while none was settled, once that is longer than it should take; else 0"
    );
    describe_gauge!(
        "quorate_connector_idle_seconds",
        Unit::Seconds,
        "Since the last message that a connector of this member handled or sent"
    );
    describe_counter!(
        "quorate_connector_reconnects_total",
        "Connections to the broker after a process's first"
    );
    describe_counter!(
        "quorate_connector_messages_total",
        "Messages by connector and outcome"
    );
    describe_counter!(
        "quorate_http_requests_total",
        "Requests on the services' face by channel and status"
    );
    describe_counter!(
        "quorate_refused_total",
        "What this member had no room for: connection, request, websocket, body, message"
    );
    describe_histogram!(
        "quorate_http_request_seconds",
        Unit::Seconds,
        "How long requests on the services' face took"
    );
    describe_counter!(
        "quorate_service_calls_total",
        "Calls of services on this member by service and outcome"
    );
    describe_gauge!(
        "quorate_failover_ms_differs",
        "1 for a member whose own settings name another failover_ms than the cluster's"
    );
    describe_gauge!("quorate_watchers", "Open streams of GET /v1/watch");
    describe_counter!("quorate_log_entries_total", "Log entries written");
    describe_counter!("quorate_log_fsyncs_total", "fsyncs of the log");
    describe_histogram!(
        "quorate_log_fsync_seconds",
        Unit::Seconds,
        "How long an fsync of the log took"
    );
    describe_histogram!(
        "quorate_log_write_seconds",
        Unit::Seconds,
        "How long a write to the log took, without its fsync"
    );
    describe_counter!(
        "quorate_log_stalls_total",
        "Writes to the log that it held up, and commits with them"
    );
    describe_counter!(
        "quorate_lease_lapses_total",
        "Times that the connectors' lease ran out under this member, by what became of messages in flight"
    );
    describe_counter!(
        "quorate_log_lines_lost_total",
        "Lines of this process's log on stderr that could not be written"
    );
    describe_gauge!(
        "process_resident_memory_bytes",
        Unit::Bytes,
        "Memory in use by the member's own process"
    );
    describe_gauge!(
        "process_open_fds",
        "Open file handles of the member's own process"
    );
    describe_counter!(
        "quorate_audit_errors_total",
        "Times that the audit trail could not be written"
    );
    describe_counter!(
        "quorate_auth_failures_total",
        "Requests that nobody was known by, by face and reason"
    );
    describe_counter!(
        "quorate_authz_denied_total",
        "Requests of someone who lacks a permission, by verb"
    );
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::METRICS, metrics)
}

async fn metrics(State(context): State<AdminContext>) -> impl IntoResponse {
    observe(&context);
    let state = context.cluster.state();
    let statuses = context.connectors.statuses().borrow().clone();
    let here = states(&statuses);
    let is_told = |series: SeriesName<'_>| {
        is_exposed(series, &here, |kind, name| {
            is_declared(state.catalog(), kind, name)
        })
    };
    let text = recorder()
        .map(|recorded| recorded.render(is_told))
        .unwrap_or_default();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

/// Connectors of this member by kind and name.
type LocalConnectors<'a> = BTreeMap<(&'a str, &'a str), ConnectorState>;

fn states(statuses: &[ConnectorStatus]) -> LocalConnectors<'_> {
    let statuses = statuses.iter();
    statuses
        .map(|it| ((it.kind.as_str(), it.name.as_str()), it.state))
        .collect()
}

/// Decides which series are exposed. A counter is exposed for as long as its connector is declared,
/// whichever member runs it: a counter that came and went with takeovers would begin anew each
/// time. A gauge is exposed for connectors that are here, and the idle time by the member that runs
/// the connector.
fn is_exposed(
    series: SeriesName<'_>,
    here: &LocalConnectors<'_>,
    is_declared: impl Fn(&str, &str) -> bool,
) -> bool {
    let SeriesName {
        metric,
        kind,
        channel,
        is_counter,
    } = series;
    match here.get(&(kind, channel)) {
        _ if is_counter => is_declared(kind, channel),
        None => false,
        Some(state) => {
            *state == ConnectorState::Active || metric != "quorate_connector_idle_seconds"
        }
    }
}

/// Sets the gauges whose values are looked up rather than counted.
fn observe(context: &AdminContext) {
    let leadership = *context.cluster.node().leadership().borrow();
    let members = context.cluster.node().members();
    let voters = members
        .iter()
        .filter(|member| member.role == quorate_types::Role::Voter)
        .count();
    gauge!("quorate_members", "role" => "voter").set(voters as f64);
    gauge!("quorate_members", "role" => "learner").set((members.len() - voters) as f64);
    if let Some(heard_at) = leadership.heard_at {
        gauge!("quorate_leader_heard_seconds").set(heard_at.elapsed().as_secs_f64());
    }
    let now = quorate_clock::Instant::now();
    for status in context.connectors.statuses().borrow().iter() {
        let ready = matches!(
            status.state,
            ConnectorState::Active | ConnectorState::Standby
        );
        gauge!("quorate_connector_ready",
            "kind" => status.kind.clone(), "channel" => status.name.clone())
        .set(f64::from(u8::from(ready)));
        let stalled = status.clone().as_of(now).stalled_s.unwrap_or_default();
        gauge!("quorate_connector_stalled_seconds",
            "kind" => status.kind.clone(), "channel" => status.name.clone())
        .set(stalled as f64);
        if let Some(at) = status.settled_at {
            gauge!("quorate_connector_idle_seconds",
                "kind" => status.kind.clone(), "channel" => status.name.clone())
            .set(now.saturating_duration_since(at).as_secs_f64());
        }
    }
    counter!("quorate_log_lines_lost_total").absolute(quorate_log::lost());
    if let Some(bytes) = resident_bytes() {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Ok(handles) = std::fs::read_dir("/proc/self/fd") {
        gauge!("process_open_fds").set(handles.count() as f64);
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_follows_connector_gauge_follows_process() {
        let mut status = ConnectorStatus::starting("amqp_channel", "orders", "member-1");
        let told = |status: &ConnectorStatus, metric, channel, is_counter| {
            let statuses = [status.clone()];
            let series = SeriesName {
                metric,
                kind: "amqp_channel",
                channel,
                is_counter,
            };
            is_exposed(series, &states(&statuses), |_, name| name != "deleted")
        };
        let counter = "quorate_connector_messages_total";
        assert!(told(&status, counter, "orders", true));
        assert!(told(&status, counter, "run-elsewhere", true));
        assert!(!told(&status, counter, "deleted", true));
        let ready = "quorate_connector_ready";
        assert!(told(&status, ready, "orders", false));
        assert!(!told(&status, ready, "run-elsewhere", false));
        let idle = "quorate_connector_idle_seconds";
        assert!(!told(&status, idle, "orders", false));
        status.state = ConnectorState::Active;
        assert!(told(&status, idle, "orders", false));
    }
}
