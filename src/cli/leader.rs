//! `quorate leader`

use super::{
    client::{Client, ClientArgs},
    failure::Failure,
    output::{self, Output},
};
use crate::admin::answers::LeaderAnswer;

/// The options.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks who leads.
pub async fn run(args: Args) -> Result<(), Failure> {
    let answer: LeaderAnswer = Client::new(&args.client)?
        .get_json("/v1/cluster/leader")
        .await?;
    if args.client.output == Output::Json {
        return output::json(&answer);
    }
    let (holder, epoch) = match &answer.connector_server {
        Some(server) => (server.name.clone(), server.epoch.to_string()),
        None => Default::default(),
    };
    let row = vec![
        answer.leader.name,
        answer.leader.id.to_string(),
        answer.term.to_string(),
        answer.leader.admin,
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
    )?;
    if answer.failure_tolerance == 0 {
        eprintln!(
            "warning: failure tolerance is 0: the loss of one voter stops writes and connectors; run three members or more"
        );
    }
    Ok(())
}
