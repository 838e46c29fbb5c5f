//! `quorate cluster`

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{
    client::{AdminClient, ApiCall, ClientArgs, get_and_print},
    error::CliError,
    output::{self, OutputFormat},
};
use crate::admin::{cluster_answers::ClusterSettings, warnings::have};

const PATH: &str = "/v1/cluster/settings";

/// A change waits for each member, and for a lease of the longest promise to run out.
const SETTLED_WITHIN: Duration = Duration::from_secs(40);

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ClusterCommand {
    /// Show what is set, and which members don't go by it yet
    Get(ClientArgs),
    /// Change a setting for all members at once
    Set(ClusterSetArgs),
}

/// The options of `set`.
#[derive(Debug, clap::Args)]
struct ClusterSetArgs {
    /// The setting: `failover_ms`
    #[arg(value_name = "SETTING")]
    setting: String,
    /// Its new value
    #[arg(value_name = "VALUE")]
    value: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows or changes the cluster's own settings.
pub(super) async fn run(args: ClusterArgs) -> Result<(), CliError> {
    match args.command {
        ClusterCommand::Get(args) => {
            let table = |settings: &ClusterSettings| output::line(describe_settings(settings));
            get_and_print(&args, PATH, table).await.map(drop)
        }
        ClusterCommand::Set(args) => set(args).await,
    }
}

async fn set(args: ClusterSetArgs) -> Result<(), CliError> {
    // The member refuses text that is no number, and names the values that it takes.
    let value = args
        .value
        .parse::<u64>()
        .map_or_else(|_| Value::from(args.value.clone()), Value::from);
    let call = ApiCall::new(Method::PUT, PATH).json(&json!({ args.setting: value }));
    let timeout = Duration::from_secs(args.client.timeout).max(SETTLED_WITHIN);
    let client = AdminClient::with_timeout(&args.client, timeout)?;
    let settings: ClusterSettings = client.send(call).await?.good()?.json()?;
    match args.client.output {
        OutputFormat::Json => output::json(&settings)?,
        OutputFormat::Table => output::line(describe_settings(&settings))?,
    }
    if settings.settled {
        Ok(())
    } else {
        Err(CliError::Unreachable(format!(
            "{} not applied it yet. It is settled by itself once every member goes by it; the same command waits again",
            have(&settings.missing)
        )))
    }
}

fn describe_settings(settings: &ClusterSettings) -> String {
    format!("failover_ms  {}", sentence(settings))
}

/// Writes "500 ms", or "500 ms, 2000 ms once member-3 has applied it".
pub(super) fn sentence(settings: &ClusterSettings) -> String {
    let target = settings.failover_ms;
    match settings.former_failover_ms {
        None => format!("{target} ms"),
        Some(former) if settings.missing.is_empty() => {
            format!("{former} ms, {target} ms in a moment")
        }
        Some(former) => format!(
            "{former} ms, {target} ms once {} applied it",
            have(&settings.missing)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_change_shows_both_values_and_missing_members() {
        let settings = |former, missing: &[&str]| ClusterSettings {
            failover_ms: 2_000,
            former_failover_ms: former,
            revision: 7,
            settled: former.is_none(),
            missing: missing.iter().map(|it| it.to_string()).collect(),
            differing: Default::default(),
        };
        assert_eq!(
            describe_settings(&settings(None, &[])),
            "failover_ms  2000 ms"
        );
        assert_eq!(
            sentence(&settings(Some(500), &["b"])),
            "500 ms, 2000 ms once b has applied it"
        );
        assert_eq!(
            sentence(&settings(Some(500), &["b", "c"])),
            "500 ms, 2000 ms once b, c have applied it"
        );
        assert_eq!(
            sentence(&settings(Some(500), &[])),
            "500 ms, 2000 ms in a moment"
        );
    }
}
