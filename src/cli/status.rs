//! `quorate status`

use super::{
    client::{ClientArgs, get_and_print},
    cluster,
    error::CliError,
    members, output, takeovers,
};
use crate::admin::cluster_answers::StatusAnswer;

/// Shows the whole cluster.
pub(super) async fn run(args: ClientArgs) -> Result<(), CliError> {
    let status = get_and_print(&args, "/v1/cluster/status", table).await?;
    match status.leader {
        Some(_) => Ok(()),
        // Shown all the same: what a member knows without a leader is needed most then.
        None => Err(CliError::Unreachable("there is no leader".into())),
    }
}

fn table(status: &StatusAnswer) -> Result<(), CliError> {
    output::line(summary(status))?;
    output::line("")?;
    members::table(&status.members)?;
    if !status.services_missing.is_empty() {
        output::line("\nServices that not every member's program carries:")?;
        let rows = status
            .services_missing
            .iter()
            .map(|(name, lack)| vec![name.clone(), lack.join(", ")]);
        output::table(&["service", "missing_on"], rows)?;
    }
    for warning in &status.warnings {
        let warning = output::printable(warning);
        quorate_log::print_note(format_args!("warning: {warning}"));
    }
    Ok(())
}

fn summary(status: &StatusAnswer) -> String {
    let leader = match &status.leader {
        Some(leader) => format!("{} (term {})", leader.name, status.term),
        None => "none".into(),
    };
    let holder = match &status.connector_server {
        Some(server) => format!("{} (epoch {})", server.name, server.epoch),
        None => "none".into(),
    };
    let promise = match &status.settings {
        Some(settings) => cluster::sentence(settings),
        None => format!("{} ms", status.failover_ms),
    };
    let connectors = match &status.connectors {
        Some(states) if states.is_empty() => "none".into(),
        Some(states) => states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect::<Vec<_>>()
            .join(", "),
        None => "not known".into(),
    };
    let takeover = status.last_takeover.as_ref();
    let takeover = takeover.map_or_else(|| "none yet".into(), takeovers::sentence);
    let tolerance = match status.failures_left {
        Some(left) => format!("{}, {left} now", status.failure_tolerance),
        // The member that is needed for it may be gone already.
        None => "not known without a leader".into(),
    };
    [
        format!(
            "cluster            {} (as {} sees it)",
            status.cluster, status.answered_by
        ),
        format!("leader             {leader}"),
        format!("connector server   {holder}"),
        format!("connectors         {connectors}"),
        format!("last takeover      {takeover}"),
        format!("failover promise   {promise}"),
        format!("failure tolerance  {tolerance}"),
        format!(
            "revision           {} (applied {})",
            status.revision, status.applied
        ),
    ]
    .join("\n")
}
