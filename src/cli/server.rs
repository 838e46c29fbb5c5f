//! `quorate server`

use std::path::PathBuf;

use quorate_platform::{open_file_limit, process_secrecy};
use tokio::runtime;

use super::{
    argument_error::CliArgumentError,
    client::{token, urls},
    error::CliError,
    stop_signals,
};
use crate::{
    server::{Server, ServerError, StartMode},
    settings::Settings,
};

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// The settings (TOML)
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Make a new cluster of this member alone; a member that is part of one goes on as it is
    #[arg(long, conflicts_with = "join")]
    bootstrap: bool,
    /// Join the cluster that one of these admin URLs belongs to; a member of it goes on as it is
    #[arg(long, value_name = "ADMIN_URL[,ADMIN_URL...]", value_parser = urls::parse)]
    join: Option<urls::AdminUrls>,
    /// File with the token that a newcomer shows to a cluster which asks who joins
    #[arg(long, env = "QUORATE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Allow to listen beyond loopback without TLS
    #[arg(long)]
    insecure: bool,
    /// Replace a setting of the file, for example log.level=debug
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

/// Runs one member until SIGTERM or SIGINT.
pub(super) fn run(args: ServerArgs) -> Result<(), CliError> {
    // First of all, and before any other thread could make a file.
    stop_signals::write_privately();
    if let Some(urls) = &args.join {
        urls::check_userinfo(&urls.0)?;
    }
    let mut flags = args.set;
    if args.insecure {
        flags.push(("insecure".into(), "true".into()));
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings = Settings::load(&args.config, environment, &flags)
        .map_err(|error| CliError::Refused(error.to_string()))?;
    if !settings.hardening.core_dumps {
        // Before there is a secret in memory.
        process_secrecy::keep_memory().map_err(|error| {
            CliError::Refused(format!("can't keep the memory of this process: {error}"))
        })?;
    }
    quorate_log::start(&settings.log);
    open_file_limit::raise();
    let start_mode = match (args.bootstrap, args.join) {
        (true, _) => StartMode::Bootstrap,
        (false, Some(urls)) => StartMode::Join(urls.0),
        (false, None) => StartMode::Resume,
    };
    let mut builder = Server::builder(settings).start_mode(start_mode);
    if let Some(file) = &args.token_file {
        match token::read_file(file) {
            Ok(token) => builder = builder.join_token(token),
            // A newcomer is told when it is refused; a member goes on without.
            Err(error) => quorate_log::print_note(format_args!("{error}")),
        }
    }
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Refused(format!("can't start: {error}")))?;
    let outcome = runtime.block_on(async {
        let stop = stop_signals::stop_asked()?;
        let reload = stop_signals::reload_asked()?;
        let server = builder.reload_when(reload).build().map_err(failure)?;
        server.run(stop).await.map_err(failure)
    });
    // A thread that still blocks must not keep the process.
    runtime.shutdown_background();
    outcome
}

fn setting(text: &str) -> Result<(String, String), CliArgumentError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(CliArgumentError::Setting),
    }
}

fn failure(error: ServerError) -> CliError {
    match error {
        ServerError::Unreachable(text) => CliError::Unreachable(text),
        other => CliError::Refused(other.to_string()),
    }
}
