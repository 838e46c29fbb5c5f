//! `quorate takeovers`

use super::{client::ClientArgs, failure::Failure, output, show::show};
use crate::admin::takeovers::{TakeoverRow, TakeoversAnswer};

/// Shows how the latest reigns began.
pub async fn run(args: ClientArgs) -> Result<(), Failure> {
    show(&args, "/v1/cluster/takeovers", table).await.map(drop)
}

fn table(answer: &TakeoversAnswer) -> Result<(), Failure> {
    let header = [
        "at",
        "reason",
        "from",
        "to",
        "epoch",
        "detected_ms",
        "elected_ms",
        "committed_ms",
        "lease_waited_ms",
        "first_active_ms",
        "last_active_ms",
        "activated",
    ];
    output::table(&header, answer.takeovers.iter().map(row))
}

fn row(it: &TakeoverRow) -> Vec<String> {
    let ms = |ms: Option<f64>| ms.map(|ms| format!("{ms:.1}")).unwrap_or_default();
    vec![
        it.at.clone(),
        it.reason.clone(),
        it.from.clone().unwrap_or_default(),
        it.to.clone(),
        it.epoch.to_string(),
        ms(it.detected_ms),
        ms(it.elected_ms),
        ms(Some(it.committed_ms)),
        ms(Some(it.lease_waited_ms)),
        ms(it.first_active_ms),
        ms(it.last_active_ms),
        format!("{}/{}", it.activated, it.connectors),
    ]
}

/// A takeover in one line: when, why, from whom to whom, how long.
pub fn sentence(it: &TakeoverRow) -> String {
    let from = it.from.as_deref().unwrap_or("nobody");
    let missing = match it.connectors.saturating_sub(it.activated) {
        0 => String::new(),
        missing => format!(", {missing} of {} connectors missing", it.connectors),
    };
    format!(
        "{} ({}) from {from} to {} in {:.1} ms{missing}",
        it.at,
        it.reason,
        it.to,
        it.took_ms()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_takeover_is_told_in_one_line() {
        let mut it = TakeoverRow {
            at: "2026-01-02T03:04:05.678Z".into(),
            reason: "death".into(),
            from: Some("a".into()),
            to: "b".into(),
            epoch: 9,
            term: 2,
            detected_ms: Some(2.0),
            elected_ms: Some(6.0),
            committed_ms: 9.0,
            lease_waited_ms: 0.0,
            first_active_ms: Some(10.0),
            last_active_ms: Some(12.34),
            connectors: 3,
            activated: 3,
        };
        assert_eq!(
            sentence(&it),
            "2026-01-02T03:04:05.678Z (death) from a to b in 12.3 ms"
        );
        (it.activated, it.from) = (1, None);
        assert!(sentence(&it).ends_with("from nobody to b in 12.3 ms, 2 of 3 connectors missing"));
        assert_eq!(row(&it).len(), 12);
    }
}
