//! `quorate connector`

use super::{
    client::{Client, ClientArgs},
    failure::Failure,
    output::{self, Output},
};
use crate::{admin::answers::ConnectorsAnswer, connector::status::ConnectorStatus};

/// The options.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The connectors and what they are doing
    List(ClientArgs),
}

/// Does what is asked of connectors.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Command::List(client) = args.command;
    let answer: ConnectorsAnswer = Client::new(&client)?.get_json("/v1/connectors").await?;
    if client.output == Output::Json {
        return output::json(&answer);
    }
    let header = [
        "kind",
        "name",
        "state",
        "member",
        "epoch",
        "pid",
        "handled",
        "failed",
        "in_flight",
        "last_message_at",
    ];
    output::table(&header, answer.connectors.iter().map(row))?;
    for connector in &answer.connectors {
        if let Some(error) = &connector.last_error {
            eprintln!("{}/{}: {error}", connector.kind, connector.name);
        }
    }
    Ok(())
}

fn row(connector: &ConnectorStatus) -> Vec<String> {
    let state = serde_json::to_value(connector.state).ok();
    vec![
        connector.kind.clone(),
        connector.name.clone(),
        state
            .as_ref()
            .and_then(|state| state.as_str())
            .unwrap_or_default()
            .to_owned(),
        connector.member.clone(),
        connector
            .epoch
            .map(|epoch| epoch.to_string())
            .unwrap_or_default(),
        connector.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        connector.handled.to_string(),
        connector.failed.to_string(),
        connector.in_flight.to_string(),
        connector.last_message_at.clone().unwrap_or_default(),
    ]
}
