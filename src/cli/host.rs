//! The options of commands that are mostly given on a member's host: they find its local socket.

use std::path::PathBuf;

use super::{
    client::{AdminClient, ClientArgs},
    error::CliError,
};
use crate::settings::{Settings, socket_beside};

/// The options.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct HostArgs {
    /// Settings of a member on this host, whose local socket is asked
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub client: ClientArgs,
}

impl HostArgs {
    /// Makes the client: of the local socket where the options name one, or a member's settings and
    /// no token; else of the admin URLs.
    pub(super) fn client(&self) -> Result<AdminClient, CliError> {
        let mut client = self.client.clone();
        if let Some(config) = &self.config
            && client.socket.is_none()
            && client.token_file.is_none()
        {
            let settings = Settings::load(config, [], &[])
                .map_err(|error| CliError::Refused(error.to_string()))?;
            client.socket = Some(socket_beside(&settings.data_dir));
        }
        AdminClient::new(&client)
    }
}
