//! `quorate secret status`, `rotate` and `rewrap`: the key by which secrets are sealed.

use std::time::Duration;

use http::Method;
use quorate_clock::Instant;
use serde_json::json;
use tokio::time::sleep;

use super::super::{
    client::{AdminClient, ApiCall, ClientArgs, get_and_print},
    error::CliError,
    output::{self, OutputFormat},
};
use crate::admin::secret_keys::{KeyHolding, KeysAnswer, PATH};

/// The pause between two looks at a rotation.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The time for which a rotation is waited for without any secret being sealed anew.
const STUCK: Duration = Duration::from_secs(30);

/// The options of `rewrap`.
#[derive(Debug, clap::Args)]
pub(super) struct RewrapArgs {
    /// The member's name
    member: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn status(args: ClientArgs) -> Result<(), CliError> {
    get_and_print(&args, PATH, table).await.map(drop)
}

pub(super) async fn rotate(args: ClientArgs) -> Result<(), CliError> {
    let client = AdminClient::new(&args)?;
    let call = ApiCall::new(Method::POST, format!("{PATH}/rotate"));
    let mut now: KeysAnswer = client.send(call).await?.good()?.json()?;
    let mut since = Instant::now();
    while now.versions.len() > 1 {
        if since.elapsed() > STUCK {
            return Err(CliError::Unreachable(format!(
                "{} secrets are not sealed by version {} yet; the rotation goes on by itself: see `quorate secret status`",
                left(&now),
                now.version
            )));
        }
        sleep(LOOK_EVERY).await;
        let next: KeysAnswer = client.get_json(PATH).await?;
        if left(&next) != left(&now) {
            since = Instant::now();
        }
        now = next;
    }
    quorate_log::print_note(format_args!(
        "all secrets are sealed by version {} of the cluster's key, and the old version is gone from the state. Snapshots and logs of before hold it until each member has taken its next snapshot; copies that were made of data folders hold it for good",
        now.version
    ));
    show(&args, &now)
}

/// Returns how many secrets are not sealed by the newest version.
fn left(keys: &KeysAnswer) -> u64 {
    let old = keys.versions.iter().filter(|it| it.version != keys.version);
    keys.in_clear + old.map(|it| it.secrets).sum::<u64>()
}

pub(super) async fn rewrap(args: RewrapArgs) -> Result<(), CliError> {
    let body = json!({"member": args.member});
    let call = ApiCall::new(Method::POST, format!("{PATH}/accept")).json(&body);
    let client = AdminClient::new(&args.client)?;
    let answer: KeysAnswer = client.send(call).await?.good()?.json()?;
    show(&args.client, &answer)
}

/// Prints the keys.
pub(super) fn show(args: &ClientArgs, answer: &KeysAnswer) -> Result<(), CliError> {
    match args.output {
        OutputFormat::Json => output::json(answer),
        OutputFormat::Table => table(answer),
    }
}

fn table(answer: &KeysAnswer) -> Result<(), CliError> {
    let versions = answer.versions.iter();
    let versions = versions.map(|it| format!("{} ({} secrets)", it.version, it.secrets));
    let recovery = match (&answer.recovery, answer.recoverable) {
        (None, _) => "none",
        (Some(_), true) => "opens every version",
        (Some(_), false) => "set, and not in force yet",
    };
    output::line(format!(
        "key versions   {}\nin clear       {}\nrecovery key   {recovery}\n",
        versions.collect::<Vec<_>>().join(", "),
        answer.in_clear
    ))?;
    let rows = answer.members.iter().map(|it| {
        let key = it.public_key.as_deref().unwrap_or_default();
        let short = key.get(..16).unwrap_or(key).to_owned();
        vec![it.name.clone(), words(it.state).to_owned(), short]
    });
    output::table(&["member", "secrets", "public_key"], rows)?;
    if answer.recovery.is_none() {
        quorate_log::print_note(
            "warning: there is no recovery key: who loses the keys folders of all members loses the secrets (quorate secret recovery-key create)",
        );
    }
    Ok(())
}

fn words(state: KeyHolding) -> &'static str {
    match state {
        KeyHolding::Holds => "opens",
        KeyHolding::Waits => "waits for a box",
        KeyHolding::OtherKey => "sealed: its key is another one",
        KeyHolding::NotAnnounced => "sealed: no key announced",
    }
}
