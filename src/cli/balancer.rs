//! `quorate balancer`

use std::path::PathBuf;

use quorate_log::{LogFormat, LogSettings};
use quorate_platform::process_secrecy;
use tokio_util::sync::CancellationToken;

use super::{argument_error::CliArgumentError, error::CliError, on_one_thread, stop_signals};
use crate::{balancer, settings};

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct BalancerArgs {
    /// The settings (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How much is logged
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    log_level: String,
}

/// Runs HAProxy and follows the cluster, until SIGTERM or SIGINT.
pub(super) fn run(args: BalancerArgs) -> Result<(), CliError> {
    stop_signals::write_privately();
    process_secrecy::keep_memory().map_err(|error| {
        CliError::Refused(format!("can't keep the memory of this process: {error}"))
    })?;
    quorate_log::start(&LogSettings {
        level: args.log_level,
        format: LogFormat::Text,
    });
    on_one_thread(async {
        let stop = stop_signals::stop_asked()?;
        let reload = stop_signals::reload_asked()?;
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        tokio::spawn(async move {
            stop.await;
            token.cancel();
        });
        balancer::run(&args.config, shutdown, reload)
            .await
            .map_err(|error| CliError::Refused(error.to_string()))
    })
}

fn level(text: &str) -> Result<String, CliArgumentError> {
    if settings::is_log_level(text) {
        Ok(text.to_owned())
    } else {
        Err(CliArgumentError::LogLevel)
    }
}
