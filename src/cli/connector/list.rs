//! `quorate connector list`

use crate::{
    admin::{
        cluster_answers::ConnectorsAnswer,
        standbys::{ConnectorRow, StandbyState, standby_warnings},
        warnings::stalled,
    },
    cli::{
        client::{ClientArgs, get_and_print},
        error::CliError,
        output,
    },
};

/// Prints the connectors; warnings go to stderr.
pub(super) async fn run(client: ClientArgs) -> Result<(), CliError> {
    let answer = get_and_print(&client, "/v1/connectors", table).await?;
    for ConnectorRow { status, .. } in &answer.connectors {
        if let Some(error) = &status.last_error {
            quorate_log::print_note(format_args!("{}/{}: {error}", status.kind, status.name));
        }
    }
    for sentence in answer.connectors.iter().filter_map(stalled) {
        quorate_log::print_note(sentence);
    }
    for sentence in standby_warnings(&answer.connectors) {
        quorate_log::print_note(sentence);
    }
    Ok(())
}

fn table(answer: &ConnectorsAnswer) -> Result<(), CliError> {
    let header = [
        "kind",
        "name",
        "state",
        "member",
        "epoch",
        "pid",
        "handled",
        "sent",
        "failed",
        "in_flight",
        "last_message_at",
        "standbys",
    ];
    output::table(&header, answer.connectors.iter().map(row))
}

fn row(connector: &ConnectorRow) -> Vec<String> {
    let status = &connector.status;
    let state = serde_json::to_value(status.state).ok();
    let state = state.and_then(|state| state.as_str().map(str::to_owned));
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    vec![
        status.kind.clone(),
        status.name.clone(),
        match status.stalled_s {
            Some(_) => "stalled".to_owned(),
            None => state.unwrap_or_default(),
        },
        status.member.clone(),
        number(status.epoch),
        number(status.pid.map(u64::from)),
        status.counts.handled.to_string(),
        status.counts.sent.to_string(),
        (status.counts.failed + status.counts.refused + status.counts.unknown).to_string(),
        status.counts.in_flight.to_string(),
        status.last_message_at.clone().unwrap_or_default(),
        standbys(connector),
    ]
}

/// Counts the other voters that could take the connector over now, and those of them that would
/// have to start a process first.
fn standbys(connector: &ConnectorRow) -> String {
    let standbys = &connector.standbys;
    if standbys.is_empty() {
        return String::new();
    }
    let cold = standbys.iter().filter(|it| it.state == StandbyState::Cold);
    let count = format!("{} of {}", connector.ready_standbys, standbys.len());
    match cold.count() {
        0 => count,
        cold if cold == connector.ready_standbys => format!("{count} (cold)"),
        cold => format!("{count} ({cold} cold)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::standbys::StandbyRow;

    #[test]
    fn standbys_are_counted_with_cold_ones_marked() {
        let shown = |states: &[StandbyState]| {
            let json = serde_json::json!({
                "kind": "amqp_channel", "name": "a", "state": "active", "member": "m",
                "epoch": 1, "pid": null, "handled": 0, "failed": 0, "retried": 0,
                "in_flight": 0, "last_message_at": null, "last_error": null,
            });
            let mut row: ConnectorRow = serde_json::from_value(json).unwrap();
            row.standbys = states
                .iter()
                .map(|state| StandbyRow {
                    member: "m".into(),
                    state: *state,
                    last_error: None,
                })
                .collect();
            row.ready_standbys = states.iter().filter(|state| state.is_ready()).count();
            standbys(&row)
        };
        use StandbyState::{Cold, Failed, Standby};
        assert_eq!(shown(&[Standby, Standby]), "2 of 2");
        assert_eq!(shown(&[Standby, Failed]), "1 of 2");
        assert_eq!(shown(&[Cold, Cold]), "2 of 2 (cold)");
        assert_eq!(shown(&[Standby, Cold]), "2 of 2 (1 cold)");
        assert_eq!(shown(&[]), "");
    }
}
