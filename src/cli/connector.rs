//! `quorate connector`

mod describe;
mod drain;
mod list;
mod operate;
mod send;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quorate_resources::Kind;

use super::{
    client::{Client, ClientArgs},
    failure::Failure,
};
use crate::admin::{answers::ConnectorsAnswer, standbys::ConnectorRow};

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
    /// All that is known of one connector
    Describe(One),
    /// Stop one until it is resumed, also by the next connector server
    Pause(One),
    /// Let a paused one work again
    Resume(One),
    /// Replace the process of one on every member
    Restart(One),
    /// Pause one, and wait until nothing is in flight
    Drain(One),
    /// Have a message sent by an outgoing
    Send(send::Args),
}

/// A connector.
#[derive(Debug, clap::Args)]
struct One {
    /// For example amqp_channel
    kind: Kind,
    /// Its name
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

impl One {
    /// `KIND/NAME` as it stands in a path of the admin face.
    fn path(&self) -> String {
        let name = utf8_percent_encode(&self.name, NON_ALPHANUMERIC);
        format!("{}/{name}", self.kind)
    }

    /// What its connector server says of it; `None`: there is no such connector.
    async fn row(&self, client: &Client) -> Result<Option<ConnectorRow>, Failure> {
        let answer: ConnectorsAnswer = client.get_json("/v1/connectors").await?;
        let mut rows = answer.connectors.into_iter();
        let is_it = |row: &ConnectorRow| {
            row.status.kind == self.kind.as_str() && row.status.name == self.name
        };
        Ok(rows.find(is_it))
    }
}

/// Does what is asked of connectors.
pub async fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::List(client) => list::run(client).await,
        Command::Describe(one) => describe::run(one).await,
        Command::Pause(one) => operate::run(one, "pause").await,
        Command::Resume(one) => operate::run(one, "resume").await,
        Command::Restart(one) => operate::run(one, "restart").await,
        Command::Drain(one) => drain::run(one).await,
        Command::Send(args) => send::run(args).await,
    }
}
