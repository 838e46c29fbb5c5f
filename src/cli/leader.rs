//! `quorate leader`

use super::{
    client::{ClientArgs, get_and_print},
    error::CliError,
    output,
};
use crate::admin::cluster_answers::LeaderAnswer;

/// Shows the leader and the connector server.
pub(super) async fn run(args: ClientArgs) -> Result<(), CliError> {
    let answer = get_and_print(&args, "/v1/cluster/leader", table).await?;
    if answer.failure_tolerance == 0 {
        quorate_log::print_note(format_args!(
            "warning: failure tolerance is 0: the loss of one voter stops writes and connectors; run three members or more"
        ));
    }
    Ok(())
}

fn table(answer: &LeaderAnswer) -> Result<(), CliError> {
    let (holder, epoch) = match &answer.connector_server {
        Some(server) => (server.name.clone(), server.epoch.to_string()),
        None => Default::default(),
    };
    let row = vec![
        answer.leader.name.clone(),
        answer.leader.id.to_string(),
        answer.term.to_string(),
        answer.leader.admin.clone(),
        holder,
        epoch,
        answer.failure_tolerance.to_string(),
    ];
    output::table(
        &[
            "leader",
            "id",
            "term",
            "admin",
            "connector_server",
            "epoch",
            "failure_tolerance",
        ],
        [row],
    )
}
