//! The sentences under `quorate status`: matters that an operator should look at, with the remedy.

use quorate_state::State;
use quorate_types::Member;

use super::{
    certificates::expiring,
    cluster_answers::{ClusterSettings, MemberState, StatusAnswer},
    member_report::{LapsesRow, MemberReportError, StrainRow},
    standbys::{ConnectorRow, standby_warnings},
};
use crate::settings::InsecureFaces;

/// Older signs of timing pressure are in the log and the metrics, and need no action now.
const RECENT_S: u64 = 600;

/// Writes one sentence for each matter.
pub fn warnings(status: &StatusAnswer, connectors: &[ConnectorRow]) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.leader.is_none() {
        warnings.push(
            "there is no leader: writes are refused and no connector runs; HTTP services go on"
                .into(),
        );
    }
    if status.failure_tolerance == 0 {
        warnings.push("failure tolerance is 0: the loss of one voter stops writes and connectors; run three members or more".into());
    } else if status.failures_left == Some(0) {
        warnings
            .push("no further voter may be lost: bring back the ones that are unreachable".into());
    }
    for row in &status.members {
        if row.state == MemberState::Unreachable {
            warnings.push(format!("{} is unreachable", row.name));
        }
    }
    for (name, peer) in &status.moved {
        let row = status.members.iter().find(|row| row.name == *name);
        let known = row.map_or("", |row| row.peer.as_str());
        warnings.push(format!(
            "{name} is at {peer}, and the members know it at {known}: it asks to be taken in; where all members have moved, start each with --join and the admin URLs of the others"
        ));
    }
    if !status.services_missing.is_empty() {
        warnings.push("the members' programs don't all carry the same services; deploy the same program everywhere".into());
    }
    let versions: std::collections::BTreeSet<&str> = status
        .programs
        .values()
        .map(|program| program.version.as_str())
        .collect();
    if versions.len() > 1 {
        let list: Vec<&str> = versions.into_iter().collect();
        warnings.push(format!(
            "the members run different versions: {}",
            list.join(", ")
        ));
    }
    warnings.extend(status.settings.iter().flat_map(promise));
    if let Some(failed) = status
        .connectors
        .as_ref()
        .and_then(|counts| counts.get("failed"))
    {
        warnings.push(format!(
            "{failed} connectors fail; see `quorate connector list`"
        ));
    }
    let sealed = status.sealed.iter();
    warnings.extend(sealed.map(|(member, why)| {
        format!("{member} is sealed, runs no connector that needs a password, and serves no channel that asks for one: {why}")
    }));
    warnings.extend(connectors.iter().filter_map(stalled));
    warnings.extend(standby_warnings(connectors));
    warnings.extend(
        status
            .strain
            .iter()
            .filter_map(|(member, strain)| too_slow(member, strain, status.failover_ms)),
    );
    warnings.extend(
        status
            .insecure
            .iter()
            .filter_map(|(member, listeners)| all_listeners_open(member, listeners)),
    );
    for (member, sentences) in &status.host_warnings {
        warnings.extend(sentences.iter().map(|it| format!("{member}: {it}")));
    }
    let certificates = status.certificates.iter();
    warnings.extend(
        certificates.flat_map(|(member, rows)| rows.iter().filter_map(|row| expiring(member, row))),
    );
    warnings.extend(
        status
            .lapses
            .iter()
            .filter_map(|(member, lapses)| lapsed(member, lapses)),
    );
    warnings
}

/// Warns while nobody but the users of the hosts can administer a cluster that asks everybody.
pub fn no_administrator(state: &State, now_ms: u64) -> Option<String> {
    let is_administrator = |name: &str| state.permissions_of(name).is_everything();
    let mut tokens = state.access().tokens().all();
    let has_one = tokens.any(|(_, it)| it.is_live(now_ms) && is_administrator(&it.identity));
    (!has_one).then(|| {
        "there is no administrator yet: quorate admin create --name NAME --config FILE, on the host of a member with its settings".into()
    })
}

/// Warns of a member that is heard by consensus and can't be connected to at the address that it
/// gives for its admin port: a name that others don't know, mostly. A member that is connected to
/// and slow has the right address.
pub fn not_asked(by: &str, member: &Member, why: &MemberReportError) -> Option<String> {
    let Member { name, admin, .. } = member;
    let MemberReportError::Unreachable(why) = why else {
        return None;
    };
    Some(format!(
        "{by} can't ask {name}, which is alive: {why}; correct admin.advertise ({admin}) in the settings of {name}, or make its host known to the other members"
    ))
}

/// Warns of members for which a cluster without a key waits.
pub fn nothing_sealed(not_sealing: &[String]) -> Option<String> {
    let names = not_sealing.join(", ");
    let why = "no secret is sealed yet, and a write that has one is refused";
    (!names.is_empty()).then(|| {
        format!("{why}: start {names}, or upgrade where the version that runs doesn't seal")
    })
}

/// Warns of a change of the promise that waits for members, and of settings that name another
/// promise.
fn promise(settings: &ClusterSettings) -> Vec<String> {
    let ClusterSettings {
        failover_ms,
        former_failover_ms,
        missing,
        differing,
        ..
    } = settings;
    let mut warnings = Vec::new();
    if let Some(former) = former_failover_ms.filter(|_| !missing.is_empty()) {
        warnings.push(format!(
            "failover_ms goes from {former} to {failover_ms} once {} applied it: until then takeovers take up to the longer of both; bring back who is unreachable, or set it back to {former}",
            have(missing)
        ));
    }
    warnings.extend(differing.iter().map(|(member, theirs)| {
        format!(
            "{member}'s settings say failover_ms {theirs}, but the cluster's is {failover_ms}, which counts: take it out of {member}'s settings, or change the cluster's with `quorate cluster set failover_ms {theirs}`"
        )
    }));
    warnings
}

/// Writes "member-3 has", or "member-2, member-3 have".
pub fn have(members: &[String]) -> String {
    let verb = if members.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", members.join(", "))
}

/// Warns of a connector that is connected and settles nothing.
pub fn stalled(ConnectorRow { status, .. }: &ConnectorRow) -> Option<String> {
    let seconds = status.stalled_s?;
    let because = status
        .last_error
        .as_deref()
        .map(|error| format!(" ({error})"))
        .unwrap_or_default();
    Some(format!(
        "{}/{} is stalled: messages wait and none was settled for {seconds} s{because}; does its service answer, and does another consumer hold them?",
        status.kind, status.name
    ))
}

/// Warns before the promise fails: timing pressure is counted from half of what is allowed.
fn too_slow(member: &str, strain: &StrainRow, failover_ms: u64) -> Option<String> {
    let ago = strain.last_ago_s.filter(|ago| *ago < RECENT_S)?;
    let seen: Vec<String> = [
        (strain.heartbeats_late, "late heartbeats"),
        (strain.renewals_late, "late renewals of its lease"),
        (strain.stalls, "stalls of its process"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    Some(format!(
        "{member} is almost too slow for failover_ms {failover_ms}: {}, the worst {} ms, {} % of what is allowed, the last {ago} s ago; give its machine more time (CPU, disk), or raise failover_ms for the cluster",
        seen.join(", "),
        strain.worst_ms,
        strain.worst_percent
    ))
}

/// Warns of settings by which every listener may be reached beyond loopback without TLS: the one
/// that was meant, and those that a later change, or a typo, binds there.
fn all_listeners_open(member: &str, listeners: &[String]) -> Option<String> {
    let every = InsecureFaces::ALL.names();
    let is_open = |name: &&str| listeners.iter().any(|face| face == name);
    every.iter().all(is_open).then(|| {
        format!(
            "{member} may listen beyond loopback without TLS with every face (insecure = true), also with admin and peer, where whoever reaches them commands the cluster: name in its settings those that should, for example insecure = [\"http\"]"
        )
    })
}

/// Warns of messages that were handled twice without a takeover.
fn lapsed(member: &str, lapses: &LapsesRow) -> Option<String> {
    let ago = lapses.last_ago_s.filter(|ago| *ago < RECENT_S)?;
    (lapses.gave_back > 0).then(|| {
        format!(
            "the lease of {member}'s connectors lapsed {} times in such a way that messages in flight were handed out again, the longest for {} ms, the last lapse {ago} s ago: it lost touch with the other members, or was too slow; see `quorate takeovers`",
            lapses.gave_back, lapses.longest_ms
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::peers::{AdminPeers, CONNECT};

    /// Asks a member that has this address, and returns the result.
    async fn asked(admin: &str) -> (Member, MemberReportError) {
        let member = Member {
            name: "member-2".into(),
            admin: admin.to_owned(),
            ..Member::default()
        };
        let peers = AdminPeers::new(None).unwrap();
        let wait = CONNECT + Duration::from_millis(100);
        let answer = peers.get::<serde_json::Value>(admin, "/v1/member", wait);
        (member, answer.await.unwrap_err().into())
    }

    #[tokio::test]
    async fn unknown_host_warning_names_the_cause() {
        for admin in ["nowhere.invalid:17110", "127.0.0.1:1"] {
            let (member, why) = asked(admin).await;
            let told = not_asked("member-1", &member, &why).unwrap();
            for text in ["member-1 can't ask member-2", "admin.advertise", admin] {
                assert!(told.contains(text), "{text} is not in: {told}");
            }
        }
    }

    #[tokio::test]
    async fn slow_member_gives_no_address_warning() {
        let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = slow.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let (member, why) = asked(&format!("{host}:{port}")).await;
            assert!(matches!(why, MemberReportError::NoAnswer(_)), "{why}");
            assert_eq!(not_asked("member-1", &member, &why), None);
        }
    }

    #[test]
    fn recent_timing_pressure_warning_names_member_and_remedy() {
        let strain = StrainRow {
            heartbeats_late: 3,
            stalls: 1,
            worst_ms: 90,
            worst_percent: 55,
            last_ago_s: Some(12),
            ..StrainRow::default()
        };
        let told = too_slow("member-2", &strain, 500).unwrap();
        for text in [
            "member-2",
            "3 late heartbeats, 1 stalls",
            "90 ms",
            "55 %",
            "12 s ago",
            "raise failover_ms",
        ] {
            assert!(told.contains(text), "{text} is not in: {told}");
        }
        assert!(!told.contains("renewals"), "{told}");
        let old = StrainRow {
            last_ago_s: Some(RECENT_S),
            ..strain
        };
        assert_eq!(too_slow("member-2", &old, 500), None);
        assert_eq!(too_slow("member-2", &StrainRow::default(), 500), None);
    }

    #[test]
    fn insecure_on_every_listener_is_warned_of() {
        let listeners =
            |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let all = listeners(&InsecureFaces::ALL.names());
        let told = all_listeners_open("member-1", &all).unwrap();
        for text in ["member-1", "insecure = true", "insecure = [\"http\"]"] {
            assert!(told.contains(text), "{text} is not in: {told}");
        }
        assert_eq!(all_listeners_open("member-1", &all[1..]), None);
        assert_eq!(all_listeners_open("member-1", &listeners(&["http"])), None);
    }

    #[test]
    fn recent_lapse_with_repeated_messages_is_warned_of() {
        let lapses = LapsesRow {
            count: 3,
            gave_back: 2,
            longest_ms: 400,
            last_ago_s: Some(9),
            ..LapsesRow::default()
        };
        let told = lapsed("member-1", &lapses).unwrap();
        for text in ["member-1", "lapsed 2 times", "400 ms", "9 s ago"] {
            assert!(told.contains(text), "{text} is not in: {told}");
        }
        let short = LapsesRow {
            gave_back: 0,
            ..lapses.clone()
        };
        assert_eq!(lapsed("member-1", &short), None);
        let old = LapsesRow {
            last_ago_s: Some(RECENT_S),
            ..lapses
        };
        assert_eq!(lapsed("member-1", &old), None);
    }
}
