//! `GET /v1/member`: what only this member knows of itself; and the collection from all members.
//!
//! All members are asked at once, each for a moment; members known to be silent are not asked.

use std::time::{Duration, SystemTime};

use axum::{Json, extract::State};
use futures_util::future::join_all;
use quorate_clock::{Instant, wall_time};
use quorate_raft::TimingPressure;
use quorate_supervisor::{LeaseLapses, connector_status::ConnectorStatus};
use quorate_types::{MemberId, MemberStatus};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};

use super::{
    AdminContext,
    access::{self, Routes},
    certificates::{self, CertificateRow},
    peers::{CONNECT, PeerError},
};

/// The path of the report.
pub const PATH: &str = "/v1/member";

/// The time for an answer. A member that is alive answers within a few milliseconds. The limit is
/// shorter than a connection may take, since the caller who wants the cluster's status waits for
/// it: see [`is_connected_to`].
const WAIT: Duration = Duration::from_millis(300);

/// `GET /v1/member`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// The cluster's id.
    #[serde(default)]
    pub cluster: String,
    /// The member's id.
    #[serde(default)]
    pub id: MemberId,
    /// The address for other members, by the member's own settings.
    #[serde(default)]
    pub peer: String,
    /// The connectors: of the connector server those at work, of others those that stand by.
    pub connectors: Vec<ConnectorStatus>,
    /// Signs that the member is too slow for its promise.
    pub strain: StrainRow,
    /// The lapses of the leases of its reigns.
    #[serde(default)]
    pub lapses: LapsesRow,
    /// Listeners that may be reached beyond loopback without TLS, by the member's settings.
    #[serde(default)]
    pub insecure: Vec<String>,
    /// Sentences on what its host can't do for it.
    #[serde(default)]
    pub host_warnings: Vec<String>,
    /// True of versions that know of the keyring and of sealed secrets.
    #[serde(default)]
    pub seals: bool,
    /// Reason why the member can't open the cluster's secrets, if it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// The certificates of the member, if it has TLS.
    #[serde(default)]
    pub certificates: Vec<CertificateRow>,
}

/// The lapses of a member's leases as the connector server, while it stayed one or before it was
/// replaced, since the member was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LapsesRow {
    /// The number of lapses.
    pub count: u64,
    /// The number of lapses in which messages in flight were given back, and handled again.
    pub gave_back: u64,
    /// The longest lapse, in milliseconds.
    pub longest_ms: u64,
    /// The end of the last lapse: RFC 3339, UTC.
    pub last_at: Option<String>,
    /// The same, in seconds before the report was written.
    pub last_ago_s: Option<u64>,
}

impl LapsesRow {
    fn from_lapses(lapses: &LeaseLapses, now: (Instant, SystemTime)) -> LapsesRow {
        let (last_at, last_ago_s) = past(lapses.last_at, now);
        LapsesRow {
            count: lapses.count,
            gave_back: lapses.gave_back,
            longest_ms: lapses.longest.as_millis() as u64,
            last_at,
            last_ago_s,
        }
    }
}

/// A moment by the wall clock, and how many seconds ago it was.
fn past(at: Option<Instant>, now: (Instant, SystemTime)) -> (Option<String>, Option<u64>) {
    let ago = at.map(|at| now.0.saturating_duration_since(at));
    let at = ago.and_then(|ago| now.1.checked_sub(ago));
    let text = at.map(|at| humantime::format_rfc3339_millis(at).to_string());
    (text, ago.map(|ago| ago.as_secs()))
}

/// Signs that a member's machine is too slow for its promise, since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrainRow {
    /// Heartbeats that came late.
    pub heartbeats_late: u64,
    /// Renewals of the lease, as leader, that came late.
    pub renewals_late: u64,
    /// The number of times that the process did not run for long.
    pub stalls: u64,
    /// The longest of these, in milliseconds.
    pub worst_ms: u64,
    /// The same in percent of what is allowed: at 100 the promise fails.
    pub worst_percent: u64,
    /// The time of the last sign: RFC 3339, UTC.
    pub last_at: Option<String>,
    /// The same, in seconds before the report was written.
    pub last_ago_s: Option<u64>,
}

impl StrainRow {
    fn from_strain(strain: &TimingPressure, now: (Instant, SystemTime)) -> StrainRow {
        let (last_at, last_ago_s) = past(strain.last_at, now);
        StrainRow {
            heartbeats_late: strain.heartbeats_late,
            renewals_late: strain.renewals_late,
            stalls: strain.stalls,
            worst_ms: strain.worst_ms,
            worst_percent: strain.worst_percent,
            last_at,
            last_ago_s,
        }
    }
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::MEMBER_REPORT, answer)
}

async fn answer(State(context): State<AdminContext>) -> Json<MemberReport> {
    Json(local_report(&context))
}

/// Returns this member's own report.
pub fn local_report(context: &AdminContext) -> MemberReport {
    let strain = context.cluster.node().timing_pressure();
    let lapses = *context.connectors.lapses().borrow();
    let now = (Instant::now(), wall_time());
    let node = context.cluster.node();
    MemberReport {
        cluster: node.cluster().to_owned(),
        id: node.id(),
        peer: node.address().to_owned(),
        connectors: context.connectors.statuses().borrow().to_vec(),
        strain: StrainRow::from_strain(&strain, now),
        lapses: LapsesRow::from_lapses(&lapses, now),
        insecure: context
            .insecure
            .names()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        host_warnings: context.host_warnings.to_vec(),
        seals: true,
        sealed: sealed(context),
        certificates: certificates::rows(context.tls.as_deref(), now.1),
    }
}

/// Returns why this member can't open the cluster's secrets. Before there is a key nothing is
/// sealed.
fn sealed(context: &AdminContext) -> Option<String> {
    let state = context.cluster.state();
    let keyring = state.keyring();
    let why = context.cluster.vault().missing_key(keyring)?;
    (keyring.newest() > 0).then(|| why.to_string())
}

/// A member with its report, or the reason why there is none.
pub type MemberReply = (MemberStatus, Result<MemberReport, MemberReportError>);

/// Reason why there is no report of a member.
#[derive(Debug, thiserror::Error)]
pub enum MemberReportError {
    /// The member was not asked.
    #[error("it is not heard")]
    Silent,
    /// There was no connection to its admin port: its host is not known or does not answer, or no
    /// process listens there.
    #[error("{0}")]
    Unreachable(PeerError),
    /// The member was connected to and is slow, or answers something else.
    #[error("{0}")]
    NoAnswer(PeerError),
}

impl From<PeerError> for MemberReportError {
    fn from(error: PeerError) -> MemberReportError {
        match error {
            PeerError::NotAsked(..) => MemberReportError::Unreachable(error),
            _ => MemberReportError::NoAnswer(error),
        }
    }
}

/// Collects the reports of all members, this one too.
pub async fn collect_reports(context: &AdminContext) -> Vec<MemberReply> {
    let members = context.cluster.node().members();
    join_all(members.into_iter().map(|member| ask(context, member))).await
}

async fn ask(context: &AdminContext, member: MemberStatus) -> MemberReply {
    if member.id == context.me() {
        return (member, Ok(local_report(context)));
    }
    if context.is_silent(member.id) {
        return (member, Err(MemberReportError::Silent));
    }
    let admin = &member.member.admin;
    let why = match context.peers.get(admin, PATH, WAIT).await {
        Ok(own) => return (member, Ok(own)),
        Err(error) => match MemberReportError::from(error) {
            MemberReportError::NoAnswer(error) if !is_connected_to(admin).await => {
                MemberReportError::Unreachable(error)
            }
            why => why,
        },
    };
    (member, Err(why))
}

/// Returns true if connections are accepted there. The kernel accepts them at once even for a
/// process that stands still.
async fn is_connected_to(admin: &str) -> bool {
    matches!(timeout(CONNECT, TcpStream::connect(admin)).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_pressure_is_reported_with_time() {
        let now = (
            Instant::now(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(100),
        );
        let strain = TimingPressure {
            stalls: 2,
            last_at: now.0.checked_sub(Duration::from_secs(10)),
            ..TimingPressure::default()
        };
        let row = StrainRow::from_strain(&strain, now);
        assert_eq!((row.stalls, row.last_ago_s), (2, Some(10)));
        assert_eq!(row.last_at.as_deref(), Some("1970-01-01T00:01:30.000Z"));
        assert_eq!(
            StrainRow::from_strain(&TimingPressure::default(), now),
            StrainRow::default()
        );
    }
}
