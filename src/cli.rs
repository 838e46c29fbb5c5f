//! The command line: one file per noun.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 refused or
//! failed, 2 usage, 3 no leader or not reachable.

mod admin;
mod apply;
mod argument_error;
mod audit;
mod balancer;
mod cert;
mod certificate_writer;
pub mod client;
mod cluster;
mod connector;
mod delete;
pub mod error;
mod export;
mod get;
mod host;
mod kv;
mod leader;
mod members;
pub mod output;
pub mod quickstart;
mod secret;
mod server;
mod status;
mod stop_signals;
mod takeovers;
mod token;
mod transfer;
mod whoami;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use client::ClientArgs;
use error::CliError;
use tokio::runtime;

/// A highly available integration server: services on every member, connectors on exactly one
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 no leader or not reachable (worth a retry)"
)]
struct CliArgs {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Start members and a balancer on this machine, in the foreground; Ctrl-C stops all
    Quickstart(quickstart::QuickstartArgs),
    /// Run one member
    Server(server::ServerArgs),
    /// Run HAProxy in front of the members, and follow the cluster for it
    Balancer(balancer::BalancerArgs),
    /// Who leads, and who runs the connectors
    Leader(ClientArgs),
    /// The members, their roles and how far they are behind
    Members(ClientArgs),
    /// The whole cluster at a glance, and what someone should look at
    Status(ClientArgs),
    /// How the latest takeovers went: when, why, and the time of each step
    Takeovers(ClientArgs),
    /// Create or change what a file declares (YAML, JSON or TOML; many documents in one file)
    Apply(apply::ApplyArgs),
    /// Show resources of one kind, or one of them
    Get(get::GetArgs),
    /// Delete a resource
    Delete(delete::DeleteArgs),
    /// Print every resource in a form that `apply` takes
    Export(ClientArgs),
    /// Keys and values
    Kv(kv::KvArgs),
    /// Connectors: the processes that move messages
    Connector(connector::ConnectorArgs),
    /// Passwords and keys by name, and the key by which the cluster seals them
    Secret(secret::SecretArgs),
    /// Make certificates for members, balancers and clients, without any member
    Cert(cert::CertArgs),
    /// The cluster's own settings, the same for all members
    Cluster(cluster::ClusterArgs),
    /// Administrators, and others that may ask at the admin port
    Admin(admin::AdminArgs),
    /// Tokens, by which identities are known at the admin port
    Token(token::TokenArgs),
    /// Who has changed what, of late
    Audit(audit::AuditArgs),
    /// As whom the cluster knows you, and what your roles are
    Whoami(host::HostArgs),
    /// Hand leadership, and with it the connectors, over to another member
    TransferLeadership(transfer::TransferArgs),
}

/// Runs the command that the arguments ask for.
pub fn main() -> ExitCode {
    let cli = match CliArgs::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no failure; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            let lines: Vec<_> = text.split('\n').map(output::printable).collect();
            quorate_log::print_note(format_args!("error: {}", lines.join("\n")));
            failure.into()
        }
    }
}

fn run(command: CliCommand) -> Result<(), CliError> {
    match command {
        CliCommand::Quickstart(args) => on_one_thread(quickstart::run(args)),
        CliCommand::Server(args) => server::run(args),
        CliCommand::Balancer(args) => balancer::run(args),
        CliCommand::Leader(args) => on_one_thread(leader::run(args)),
        CliCommand::Members(args) => on_one_thread(members::run(args)),
        CliCommand::Status(args) => on_one_thread(status::run(args)),
        CliCommand::Takeovers(args) => on_one_thread(takeovers::run(args)),
        CliCommand::Apply(args) => on_one_thread(apply::run(args)),
        CliCommand::Get(args) => on_one_thread(get::run(args)),
        CliCommand::Delete(args) => on_one_thread(delete::run(args)),
        CliCommand::Export(args) => on_one_thread(export::run(args)),
        CliCommand::Kv(args) => on_one_thread(kv::run(args)),
        CliCommand::Connector(args) => on_one_thread(connector::run(args)),
        CliCommand::Secret(args) => on_one_thread(secret::run(args)),
        CliCommand::Cert(args) => cert::run(args),
        CliCommand::Cluster(args) => on_one_thread(cluster::run(args)),
        CliCommand::Admin(args) => on_one_thread(admin::run(args)),
        CliCommand::Token(args) => on_one_thread(token::run(args)),
        CliCommand::Audit(args) => on_one_thread(audit::run(args)),
        CliCommand::Whoami(args) => on_one_thread(whoami::run(args)),
        CliCommand::TransferLeadership(args) => on_one_thread(transfer::run(args)),
    }
}

/// A client needs no more than one thread.
fn on_one_thread(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Refused(format!("can't start: {error}")))?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests;
