//! `GET /v1/cluster/status`: the whole cluster at a glance, also without a leader.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use quorate_supervisor::connector_status::ConnectorState;
use quorate_types::Role;

use super::{
    AdminContext,
    access::{self, Routes},
    authenticate::now_ms,
    certificates::CertificateRow,
    cluster_answers::{
        MemberProgram, MemberRow, MemberState, StatusAnswer, failure_tolerance, quorum,
    },
    cluster_settings, connectors, leader,
    member_report::{self, LapsesRow, MemberReply, StrainRow},
    members,
    standbys::ConnectorRow,
    takeovers::TakeoverRow,
    warnings::{no_administrator, not_asked, nothing_sealed, warnings},
};

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::STATUS, status)
}

async fn status(State(context): State<AdminContext>) -> Json<StatusAnswer> {
    let (rows, connectors, asked) = tokio::join!(
        members::rows(&context),
        connectors::rows(&context),
        member_report::collect_reports(&context)
    );
    let connectors = connectors.map(|rows| connectors::merge(&context, rows, &asked).connectors);
    let state = context.cluster.state();
    let settings = cluster_settings::current_settings(&context, &state);
    let led = leader::current_leader(&context);
    let name = |id| {
        rows.iter()
            .find(|row| row.id == id)
            .map(|row| row.name.clone())
    };
    let programs: BTreeMap<String, MemberProgram> = state
        .announced_programs()
        .iter()
        .filter_map(|(id, announced)| {
            let program = MemberProgram {
                version: announced.version.clone(),
                services: announced.services.clone(),
            };
            Some((name(*id)?, program))
        })
        .collect();
    let me = name(context.me()).unwrap_or_default();
    let not_asked: Vec<String> = asked
        .iter()
        .filter(|(member, _)| !context.is_silent(member.id))
        .filter_map(|(member, own)| not_asked(&me, &member.member, own.as_ref().err()?))
        .collect();
    let ReportedByMembers {
        strain,
        lapses,
        moved,
        insecure,
        host_warnings,
        sealed,
        not_sealing,
        certificates,
    } = ReportedByMembers::collect(asked);
    let counts = connectors.as_deref().ok().map(count_by_state);
    let mut answer = StatusAnswer {
        cluster: context.cluster.node().cluster().to_owned(),
        answered_by: me,
        failover_ms: settings.as_ref().map_or_else(
            || context.cluster.timing().failover.as_millis() as u64,
            |settings| settings.failover_ms,
        ),
        settings,
        applied: state.applied(),
        revision: state.revision(),
        term: context.leadership().term,
        connector_server: led.as_ref().and_then(|led| led.connector_server.clone()),
        failure_tolerance: failure_tolerance(
            rows.iter().filter(|row| row.role == Role::Voter).count(),
        ),
        failures_left: led.is_some().then(|| failures_left(&rows)),
        leader: led.map(|led| led.leader),
        services_missing: missing(&programs),
        programs,
        members: rows,
        connectors: counts,
        last_takeover: state.takeovers().last().map(TakeoverRow::from_takeover),
        strain,
        lapses,
        moved,
        insecure,
        host_warnings,
        sealed,
        certificates,
        warnings: Vec::new(),
    };
    answer.warnings = warnings(&answer, connectors.as_deref().unwrap_or_default());
    answer.warnings.extend(not_asked);
    if state.keyring().newest() == 0 {
        answer.warnings.extend(nothing_sealed(&not_sealing));
    }
    if context.access.asks() {
        answer.warnings.extend(no_administrator(&state, now_ms()));
    }
    Json(answer)
}

/// The parts of the status that each member reports of itself, by the member's name.
#[derive(Default)]
struct ReportedByMembers {
    strain: BTreeMap<String, StrainRow>,
    lapses: BTreeMap<String, LapsesRow>,
    moved: BTreeMap<String, String>,
    insecure: BTreeMap<String, Vec<String>>,
    host_warnings: BTreeMap<String, Vec<String>>,
    sealed: BTreeMap<String, String>,
    /// Names of members that did not say that they seal.
    not_sealing: Vec<String>,
    certificates: BTreeMap<String, Vec<CertificateRow>>,
}

impl ReportedByMembers {
    fn collect(replies: Vec<MemberReply>) -> ReportedByMembers {
        let mut reported = ReportedByMembers::default();
        for (member, report) in replies {
            let name = member.member.name;
            if !report.as_ref().is_ok_and(|it| it.seals) {
                reported.not_sealing.push(name.clone());
            }
            let Ok(report) = report else { continue };
            if !report.peer.is_empty() && report.peer != member.member.peer {
                reported.moved.insert(name.clone(), report.peer);
            }
            if !report.insecure.is_empty() {
                reported.insecure.insert(name.clone(), report.insecure);
            }
            if !report.host_warnings.is_empty() {
                let warnings = report.host_warnings;
                reported.host_warnings.insert(name.clone(), warnings);
            }
            if let Some(why) = report.sealed {
                reported.sealed.insert(name.clone(), why);
            }
            if !report.certificates.is_empty() {
                let certificates = report.certificates;
                reported.certificates.insert(name.clone(), certificates);
            }
            reported.strain.insert(name.clone(), report.strain);
            if report.lapses.count > 0 {
                reported.lapses.insert(name, report.lapses);
            }
        }
        reported
    }
}

fn count_by_state(connectors: &[ConnectorRow]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for connector in connectors {
        *counts
            .entry(state_word(connector.status.state))
            .or_insert(0) += 1;
    }
    counts
}

fn state_word(state: ConnectorState) -> String {
    let word = serde_json::to_value(state).ok();
    word.as_ref()
        .and_then(|word| word.as_str())
        .unwrap_or("unknown")
        .to_owned()
}

/// Returns how many more voters may be lost now.
fn failures_left(rows: &[MemberRow]) -> usize {
    let voters = rows.iter().filter(|row| row.role == Role::Voter);
    let alive = voters
        .clone()
        .filter(|row| row.state == MemberState::Alive)
        .count();
    alive.saturating_sub(quorum(voters.count()))
}

/// Lists services that only some of the programs carry, with the members that lack each.
fn missing(programs: &BTreeMap<String, MemberProgram>) -> BTreeMap<String, Vec<String>> {
    let all: std::collections::BTreeSet<&String> = programs
        .values()
        .flat_map(|program| &program.services)
        .collect();
    all.into_iter()
        .filter_map(|service| {
            let lack = programs
                .iter()
                .filter(|(_, program)| !program.services.contains(service));
            let lack: Vec<String> = lack.map(|(name, _)| name.clone()).collect();
            (!lack.is_empty()).then(|| (service.clone(), lack))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(services: &[&str]) -> MemberProgram {
        MemberProgram {
            version: "1".into(),
            services: services.iter().map(|it| it.to_string()).collect(),
        }
    }

    #[test]
    fn missing_services_name_the_members_without_them() {
        let programs = BTreeMap::from([
            ("a".to_owned(), program(&["echo", "orders"])),
            ("b".to_owned(), program(&["echo"])),
            ("c".to_owned(), program(&["echo", "orders", "bills"])),
        ]);
        let missing = missing(&programs);
        assert_eq!(missing.len(), 2);
        assert_eq!(missing["orders"], ["b"]);
        assert_eq!(missing["bills"], ["a", "b"]);
    }

    #[test]
    fn remaining_tolerance_counts_living_voters_only() {
        let row = |id, role, state| MemberRow {
            id,
            name: format!("m{id}"),
            role,
            state,
            http: String::new(),
            admin: String::new(),
            peer: String::new(),
            lag: None,
        };
        let rows = [
            row(1, Role::Voter, MemberState::Alive),
            row(2, Role::Voter, MemberState::Alive),
            row(3, Role::Voter, MemberState::Unreachable),
            row(4, Role::Learner, MemberState::Alive),
        ];
        assert_eq!(failures_left(&rows), 0);
        assert_eq!(failures_left(&rows[..1]), 0);
        assert_eq!(failures_left(&[]), 0);
    }
}
