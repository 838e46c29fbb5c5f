//! `quorate secret`: passwords and keys by name, and the key by which the cluster seals them.

mod keys;
mod recovery;
mod values;

use super::{client::ClientArgs, error::CliError};

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct SecretArgs {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SecretCommand {
    /// Create a secret or give it another value, which those that use it by its name go over to
    Set(values::SecretSetArgs),
    /// The secrets, without their values
    List(ClientArgs),
    /// Delete a secret that nobody uses
    Delete(values::SecretDeleteArgs),
    /// Which key seals the secrets, and which members can open it
    Status(ClientArgs),
    /// Make another key for the cluster, seal all secrets by it and drop the old one
    Rotate(ClientArgs),
    /// Accept the new sealing key of a member that has lost its keys folder
    Rewrap(keys::RewrapArgs),
    /// The key that brings the secrets back when every member has lost its own
    #[command(subcommand)]
    RecoveryKey(recovery::RecoveryKeyCommand),
    /// Give the members the cluster's key again, by the recovery key
    Recover(recovery::RecoverArgs),
}

/// Runs the command.
pub(super) async fn run(args: SecretArgs) -> Result<(), CliError> {
    match args.command {
        SecretCommand::Set(args) => values::set(args).await,
        SecretCommand::List(args) => values::list(args).await,
        SecretCommand::Delete(args) => values::delete(args).await,
        SecretCommand::Status(args) => keys::status(args).await,
        SecretCommand::Rotate(args) => keys::rotate(args).await,
        SecretCommand::Rewrap(args) => keys::rewrap(args).await,
        SecretCommand::RecoveryKey(recovery::RecoveryKeyCommand::Create(args)) => {
            recovery::create(args).await
        }
        SecretCommand::Recover(args) => recovery::recover(args).await,
    }
}
