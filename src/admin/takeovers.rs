//! `GET /v1/cluster/takeovers`: the beginnings of the latest reigns, newest first.
//!
//! They are part of the replicated state, so any member answers, without a leader too.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use axum::{Json, extract::State};
use quorate_state::Takeover;
use quorate_supervisor::takeover_reason;
use serde::{Deserialize, Serialize};

use super::{
    AdminContext,
    access::{self, Routes},
    member_report::{self, LapsesRow},
};

/// One takeover. Times of steps are in milliseconds after `at`, `null` where not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakeoverRow {
    /// The beginning: the last sign of the connector server before, by the wall clock of `to`; RFC
    /// 3339, UTC.
    pub at: String,
    /// `start`, `timeout`, `transfer`, `death`, or `again` (by the same leader, after a release).
    pub reason: String,
    /// The name of the connector server before.
    pub from: Option<String>,
    /// The name of the one that took over.
    pub to: String,
    /// The epoch that began.
    pub epoch: u64,
    /// The term.
    pub term: u64,
    /// The time when `to` learned that the member before was lost, or was asked to take over.
    pub detected_ms: Option<f64>,
    /// The time when `to` was elected.
    pub elected_ms: Option<f64>,
    /// The time when the reign was in the log of a quorum and was applied.
    pub committed_ms: f64,
    /// The time that connectors which only the lease fences waited after that.
    pub lease_waited_ms: f64,
    /// The time when the first connector consumed.
    pub first_active_ms: Option<f64>,
    /// The time when the last connector consumed.
    pub last_active_ms: Option<f64>,
    /// The number of connectors to activate.
    pub connectors: u32,
    /// The number of connectors at work when the record was written.
    pub activated: u32,
}

impl TakeoverRow {
    /// Makes a row of the state's record.
    pub fn from_takeover(it: &Takeover) -> TakeoverRow {
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(it.began_ms));
        let at = at.filter(|at| *at < SystemTime::UNIX_EPOCH + RFC_3339_END);
        TakeoverRow {
            at: humantime::format_rfc3339_millis(at.unwrap_or(SystemTime::UNIX_EPOCH)).to_string(),
            reason: takeover_reason::reason_word(it.reason()).to_owned(),
            from: it.from.clone(),
            to: it.to.clone(),
            epoch: it.epoch,
            term: it.term,
            detected_ms: it.detected_us.map(ms),
            elected_ms: it.elected_us.map(ms),
            committed_ms: ms(it.committed_us),
            lease_waited_ms: ms(it.lease_waited_us),
            first_active_ms: it.first_active_us.map(ms),
            last_active_ms: it.last_active_us.map(ms),
            connectors: it.connectors,
            activated: it.activated,
        }
    }

    /// Returns the time in milliseconds until the last connector was at work, or until the reign
    /// began where there was no connector.
    pub fn took_ms(&self) -> f64 {
        self.last_active_ms.unwrap_or(self.committed_ms)
    }
}

/// The year 9999 ends: later times can't be written, whatever clock they came from.
const RFC_3339_END: Duration = Duration::from_secs(253_402_300_800);

/// `GET /v1/cluster/takeovers`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakeoversAnswer {
    /// The takeovers, newest first.
    pub takeovers: Vec<TakeoverRow>,
    /// Lapses of leases by member name, of members that answer and had any: they are no takeovers
    /// and may repeat messages like one.
    #[serde(default)]
    pub lapses: BTreeMap<String, LapsesRow>,
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::TAKEOVERS, takeovers)
}

async fn takeovers(State(context): State<AdminContext>) -> Json<TakeoversAnswer> {
    let lapses = member_report::collect_reports(&context).await.into_iter();
    let lapses = lapses.filter_map(|(member, own)| Some((member.member.name, own.ok()?.lapses)));
    let state = context.cluster.state();
    let takeovers = state
        .takeovers()
        .newest_first()
        .map(TakeoverRow::from_takeover);
    Json(TakeoversAnswer {
        takeovers: takeovers.collect(),
        lapses: lapses.filter(|(_, lapses)| lapses.count > 0).collect(),
    })
}

#[cfg(test)]
mod tests {
    use quorate_state::Reason;

    use super::*;

    #[test]
    fn takeover_row_has_milliseconds_and_time() {
        let takeover = Takeover {
            epoch: 7,
            term: 3,
            from: Some("member-1".into()),
            to: "member-2".into(),
            reason: Reason::Death.into(),
            began_ms: 1_700_000_000_123,
            detected_us: Some(2_345),
            committed_us: 11_001,
            connectors: 2,
            activated: 1,
            ..Takeover::default()
        };
        let row = TakeoverRow::from_takeover(&takeover);
        assert_eq!(row.at, "2023-11-14T22:13:20.123Z");
        assert_eq!(row.reason, "death");
        assert_eq!((row.detected_ms, row.elected_ms), (Some(2.345), None));
        assert_eq!((row.committed_ms, row.took_ms()), (11.001, 11.001));
        // A clock far off must not keep the others from being shown.
        let odd = Takeover {
            began_ms: u64::MAX,
            ..takeover
        };
        assert_eq!(
            TakeoverRow::from_takeover(&odd).at,
            "1970-01-01T00:00:00.000Z"
        );
    }
}
