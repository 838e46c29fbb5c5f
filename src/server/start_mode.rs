//! The start mode: how a member comes to be part of a cluster.
//!
//! The data folder goes before the mode that is asked for: a member that has been part of a
//! cluster goes on with that one, or not at all.

use http::{Method, StatusCode};
use quorate_clock::Instant;
use quorate_raft::{MemberIdentity, Node};
use quorate_types::backoff::Backoff;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Duration, sleep};
use url::Url;

use super::{ServerError, failover::LocalFailoverRecord};
use crate::{
    admin::{
        cluster_answers::JoinAnswer,
        peers::{AdminPeers, PeerError},
    },
    settings::Settings,
};

/// The way in which a member becomes part of a cluster, at its first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// Go on as the member that the data folder belongs to.
    Resume,
    /// Make a new cluster, of this member alone.
    Bootstrap,
    /// Join the cluster that one of these admin URLs belongs to.
    Join(Vec<Url>),
}

/// The decided start, and the failover promise by which the member goes at first.
pub(super) struct StartDecision {
    pub node_start: quorate_raft::NodeStartMode,
    pub failover: LocalFailoverRecord,
    /// Admin URLs of members that know each other's addresses, should all have moved.
    pub others: Vec<Url>,
}

/// The time for which a member is looked for that admits this one.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The time for one answer: a leader may have to be elected first.
const ONE_ANSWER: Duration = Duration::from_secs(10);

/// Decides how the member starts; joining asks the cluster for an id.
pub(super) async fn decide(
    settings: &Settings,
    start_mode: StartMode,
    peers: &AdminPeers,
) -> Result<StartDecision, ServerError> {
    let marker = Node::marker(&settings.data_dir)
        .map_err(|error| ServerError::Refused(error.to_string()))?;
    if let StartMode::Join(urls) = &start_mode
        && settings.tls.is_none()
        && let Some(url) = urls.iter().find(|url| url.scheme() == "https")
    {
        return Err(ServerError::Refused(format!(
            "{url} is asked by TLS, for which this member has no certificate: set tls.cert, tls.key and tls.ca (`quorate cert issue` makes them)"
        )));
    }
    let mut others = Vec::new();
    let node_start = match (marker, start_mode) {
        (Some(marker), StartMode::Join(urls)) => {
            refuse_another_cluster(settings, &marker, &urls, peers).await?;
            others = urls;
            quorate_raft::NodeStartMode::Resume
        }
        (Some(_), StartMode::Resume | StartMode::Bootstrap) => quorate_raft::NodeStartMode::Resume,
        (None, StartMode::Resume) => {
            return Err(ServerError::Refused(format!(
                "{} has never been part of a cluster: start it with --join ADMIN_URL to join one, or with --bootstrap to make a new one",
                settings.data_dir.display()
            )));
        }
        (None, StartMode::Bootstrap) => {
            return Ok(StartDecision {
                node_start: quorate_raft::NodeStartMode::Bootstrap,
                failover: LocalFailoverRecord::alone(settings.failover_ms),
                others,
            });
        }
        (None, StartMode::Join(urls)) => {
            let answer = join(settings, &urls, peers).await?;
            let failover = LocalFailoverRecord {
                revision: answer.failover.revision,
                lease_ms: answer.failover.lease_ms,
                patience_ms: answer.failover.patience_ms,
            };
            // Before the data folder says that this is a member, which then starts with the record.
            failover.write(&settings.data_dir).map_err(unrecorded)?;
            return Ok(StartDecision {
                node_start: quorate_raft::NodeStartMode::Join(answer.admission),
                failover,
                others,
            });
        }
    };
    // None: the first member of a cluster was stopped before it had made a promise.
    let failover = LocalFailoverRecord::read(&settings.data_dir).map_err(unrecorded)?;
    Ok(StartDecision {
        node_start,
        failover: failover.unwrap_or_else(|| LocalFailoverRecord::alone(settings.failover_ms)),
        others,
    })
}

fn unrecorded(error: std::io::Error) -> ServerError {
    ServerError::Refused(format!("the failover promise in the data folder: {error}"))
}

/// Refuses a request to join a cluster that this member is not part of: a mistake that must not
/// pass in silence. Where nobody answers, the request is taken for a restart.
async fn refuse_another_cluster(
    settings: &Settings,
    marker: &MemberIdentity,
    urls: &[Url],
    peers: &AdminPeers,
) -> Result<(), ServerError> {
    #[derive(Deserialize)]
    struct ClusterIdAnswer {
        cluster: String,
    }
    for url in urls {
        let Ok(status) = peers
            .get::<ClusterIdAnswer>(
                url.authority(),
                "/v1/cluster/status",
                Duration::from_secs(2),
            )
            .await
        else {
            continue;
        };
        if status.cluster == marker.cluster {
            return Ok(());
        }
        return Err(ServerError::Refused(format!(
            "{} belongs to cluster {}, and {url} to cluster {}: a member can't change clusters. \
             Leave out --join to go on in its own, or give it an empty data_dir to join that one",
            settings.data_dir.display(),
            marker.cluster,
            status.cluster
        )));
    }
    Ok(())
}

async fn join(
    settings: &Settings,
    urls: &[Url],
    peers: &AdminPeers,
) -> Result<JoinAnswer, ServerError> {
    let newcomer = json!({
        "name": settings.name,
        "http": settings.http.advertise,
        "admin": settings.admin.advertise,
        "peer": settings.peer.advertise,
    });
    let deadline = Instant::now() + PATIENCE;
    let mut pauses = Backoff::new(PAUSE, PAUSE_MAX);
    loop {
        let mut misses = Vec::new();
        for url in urls {
            let asked = peers.ask(
                Method::POST,
                url.authority(),
                "/v1/cluster/join",
                Some(newcomer.clone()),
                ONE_ANSWER,
            );
            match asked.await {
                Ok(answer) if answer.status.is_success() => {
                    return serde_json::from_slice(&answer.body).map_err(|error| {
                        ServerError::Refused(format!("{url} is no member's admin port: its answer is not understood ({error})"))
                    });
                }
                // No member leads there at the moment, or the outcome is not known. Asking again is
                // safe: the same newcomer is given the same id.
                Ok(answer) if answer.status.is_server_error() => {
                    misses.push(format!("{url}: {}", detail(&answer.body, answer.status)))
                }
                Ok(answer) => {
                    return Err(ServerError::Refused(format!(
                        "{url} refuses: {}",
                        detail(&answer.body, answer.status)
                    )));
                }
                Err(error @ (PeerError::NotAsked(..) | PeerError::NoAnswer(..))) => {
                    misses.push(error.to_string())
                }
                Err(error) => return Err(ServerError::Refused(error.to_string())),
            }
        }
        if Instant::now() >= deadline {
            return Err(ServerError::Unreachable(format!(
                "nobody admitted this member within {} s:\n  {}",
                PATIENCE.as_secs(),
                misses.join("\n  ")
            )));
        }
        tracing::info!(asked = misses.join("; "), "waiting to be admitted");
        sleep(pauses.step()).await;
    }
}

/// Returns the text of a problem.
fn detail(body: &[u8], status: StatusCode) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(detail) = problem["detail"].as_str() else {
        return format!("it answered {status}");
    };
    let errors = problem["errors"].as_array().into_iter().flatten();
    let fields = errors.filter_map(|error| {
        Some(format!(
            "{}: {}",
            error["field"].as_str()?,
            error["problem"].as_str()?
        ))
    });
    std::iter::once(detail.to_owned())
        .chain(fields)
        .collect::<Vec<_>>()
        .join("; ")
}
