//! `quorate takeovers`

use super::{
    client::{ClientArgs, get_and_print},
    error::CliError,
    output,
};
use crate::admin::{
    member_report::LapsesRow,
    takeovers::{TakeoverRow, TakeoversAnswer},
};

/// Shows the beginnings of the latest reigns.
pub(super) async fn run(args: ClientArgs) -> Result<(), CliError> {
    get_and_print(&args, "/v1/cluster/takeovers", table)
        .await
        .map(drop)
}

fn table(answer: &TakeoversAnswer) -> Result<(), CliError> {
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
    output::table(&header, answer.takeovers.iter().map(row))?;
    for (member, lapses) in &answer.lapses {
        quorate_log::print_note(lapsed(member, lapses));
    }
    Ok(())
}

/// Lists the lapses under the table: no takeovers, but they repeat messages like one.
pub(super) fn lapsed(member: &str, it: &LapsesRow) -> String {
    let since = it.last_at.as_deref().unwrap_or("unknown");
    let repeated = match it.gave_back {
        0 => "no message was handed out again".to_owned(),
        count => {
            format!("in {count} of them messages in flight were handed out again")
        }
    };
    format!(
        "{member}: the lease of its connectors lapsed {} times since it was started, the longest for {} ms, the last until {since}; {repeated}",
        it.count, it.longest_ms
    )
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

/// Writes a takeover in one line: time, reason, members, duration.
pub(super) fn sentence(it: &TakeoverRow) -> String {
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
    fn takeover_is_printed_in_one_line() {
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

    #[test]
    fn lapses_are_printed_below_takeovers() {
        let mut it = LapsesRow {
            count: 3,
            gave_back: 1,
            longest_ms: 240,
            last_at: Some("2026-01-02T03:04:05.678Z".into()),
            last_ago_s: Some(7),
        };
        assert_eq!(
            lapsed("member-1", &it),
            "member-1: the lease of its connectors lapsed 3 times since it was started, the longest for 240 ms, the last until 2026-01-02T03:04:05.678Z; in 1 of them messages in flight were handed out again"
        );
        it.gave_back = 0;
        assert!(lapsed("member-1", &it).ends_with("no message was handed out again"));
    }
}
