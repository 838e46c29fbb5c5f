//! `quorate connector`

mod describe;
mod drain;
mod list;
mod operate;
mod send;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quorate_resources::Kind;

use super::{
    client::{AdminClient, ClientArgs},
    error::CliError,
};
use crate::admin::{cluster_answers::ConnectorsAnswer, standbys::ConnectorRow};

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct ConnectorArgs {
    #[command(subcommand)]
    command: ConnectorCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ConnectorCommand {
    /// The connectors and what they are doing
    List(ClientArgs),
    /// All that is known of one connector
    Describe(ConnectorTarget),
    /// Stop one until it is resumed, also by the next connector server
    Pause(ConnectorTarget),
    /// Let a paused one work again
    Resume(ConnectorTarget),
    /// Replace the process of one on every member
    Restart(ConnectorTarget),
    /// Pause one, and wait until nothing is in flight
    Drain(ConnectorTarget),
    /// Have a message sent by an outgoing
    Send(send::SendArgs),
}

/// A connector.
#[derive(Debug, clap::Args)]
struct ConnectorTarget {
    /// For example amqp_channel
    kind: Kind,
    /// Its name
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

impl ConnectorTarget {
    /// Returns `KIND/NAME` as it stands in a path of the API.
    fn path(&self) -> String {
        let name = utf8_percent_encode(&self.name, NON_ALPHANUMERIC);
        format!("{}/{name}", self.kind)
    }

    /// Gets the connector's row from its connector server; `None` if there is no such connector.
    async fn row(&self, client: &AdminClient) -> Result<Option<ConnectorRow>, CliError> {
        let answer: ConnectorsAnswer = client.get_json("/v1/connectors").await?;
        let mut rows = answer.connectors.into_iter();
        let is_it = |row: &ConnectorRow| {
            row.status.kind == self.kind.as_str() && row.status.name == self.name
        };
        Ok(rows.find(is_it))
    }
}

/// Runs a command on connectors.
pub(super) async fn run(args: ConnectorArgs) -> Result<(), CliError> {
    match args.command {
        ConnectorCommand::List(client) => list::run(client).await,
        ConnectorCommand::Describe(one) => describe::run(one).await,
        ConnectorCommand::Pause(one) => operate::run(one, "pause").await,
        ConnectorCommand::Resume(one) => operate::run(one, "resume").await,
        ConnectorCommand::Restart(one) => operate::run(one, "restart").await,
        ConnectorCommand::Drain(one) => drain::run(one).await,
        ConnectorCommand::Send(args) => send::run(args).await,
    }
}
