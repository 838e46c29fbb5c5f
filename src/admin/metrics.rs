//! `GET /metrics`: Prometheus text. One recorder for the whole process.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Context;
use crate::connector::{ConnectorState, ConnectorStatus};

/// Seconds; from a fast disk's fsync to a slow service.
const BUCKETS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// How often old samples are folded away when nobody scrapes.
pub const UPKEEP: Duration = Duration::from_secs(10);

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Makes the process's recorder, the first time. `None` where a program that embeds a
/// member has a recorder of its own: then the metrics are there.
pub fn recorder() -> Option<PrometheusHandle> {
    RECORDER
        .get_or_init(|| {
            let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS);
            let handle = builder.map(|builder| builder.install_recorder());
            match handle {
                Ok(Ok(handle)) => {
                    describe();
                    Some(handle)
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "/metrics stays empty: the process has another recorder");
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, "/metrics stays empty");
                    None
                }
            }
        })
        .clone()
}

/// What matters first, in words.
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
}

/// The route.
pub fn routes() -> Router<Context> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(context): State<Context>) -> impl IntoResponse {
    observe(&context);
    let text = recorder().map(|handle| handle.render()).unwrap_or_default();
    let text = without_the_gone(&text, context.connectors.statuses().borrow().iter());
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

/// What is told of connectors, without those that are not here any more: the recorder forgets
/// nothing. How long one was idle is told by the member that runs it.
fn without_the_gone<'a>(text: &str, statuses: impl Iterator<Item = &'a ConnectorStatus>) -> String {
    let here: BTreeMap<(&str, &str), ConnectorState> = statuses
        .map(|it| ((it.kind.as_str(), it.name.as_str()), it.state))
        .collect();
    let stays = |line: &&str| {
        let Some(of) = line.strip_prefix("quorate_connector_") else {
            return true;
        };
        let (Some(kind), Some(channel)) = (label(of, "kind"), label(of, "channel")) else {
            return true;
        };
        match here.get(&(kind, channel)) {
            None => false,
            Some(state) => *state == ConnectorState::Active || !of.starts_with("idle_seconds"),
        }
    };
    text.split_inclusive('\n').filter(stays).collect()
}

/// The value of a label of a sample. Kinds and names have nothing in them to be escaped.
fn label<'a>(sample: &'a str, name: &str) -> Option<&'a str> {
    let (labels, _) = sample.split_once('{')?.1.split_once('}')?;
    labels.split(',').find_map(|pair| {
        let value = pair.strip_prefix(name)?.strip_prefix("=\"")?;
        value.strip_suffix('"')
    })
}

/// Sets what is looked up rather than counted.
fn observe(context: &Context) {
    let leadership = *context.cluster.node().leadership().borrow();
    let members = context.cluster.node().members();
    let voters = members
        .iter()
        .filter(|member| member.role == quorate_raft::Role::Voter)
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
    fn what_is_told_of_connectors_goes_with_them() {
        let text = "\
# TYPE quorate_connector_ready gauge
quorate_connector_ready{kind=\"amqp_channel\",channel=\"gone\"} 1
quorate_connector_ready{kind=\"amqp_channel\",channel=\"orders\"} 1
quorate_connector_ready{kind=\"amqp_outgoing\",channel=\"orders\"} 1
quorate_connector_idle_seconds{kind=\"amqp_channel\",channel=\"orders\"} 7
quorate_connector_messages_total{kind=\"amqp_channel\",channel=\"gone\",outcome=\"handled\"} 3
quorate_connector_epoch 9
quorate_term 3
";
        let mut status = ConnectorStatus::starting("amqp_channel", "orders", "member-1");
        let told = |status: &ConnectorStatus| without_the_gone(text, [status].into_iter());
        let standing_by = told(&status);
        assert_eq!(standing_by.lines().count(), 4, "{standing_by}");
        assert!(!standing_by.contains("gone") && !standing_by.contains("idle"));
        status.state = ConnectorState::Active;
        assert!(told(&status).contains("idle_seconds"));
        assert!(told(&status).contains("quorate_connector_epoch 9\nquorate_term 3\n"));
    }
}
