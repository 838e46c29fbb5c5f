//! `quorate secret recovery-key create` and `recover`: the key that is kept by people.
//!
//! It is made here and its private part never leaves this process but for the one line that is
//! printed. That line is printed only once the cluster has put its key into a box for it and that
//! box was opened here: a recovery key that recovers nothing is worse than none. To recover, the
//! boxes come here, are opened, and go back in boxes for the members.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Method;
use quorate_clock::Instant;
use quorate_keyring::{
    ClusterKey, PublicSealKey, SealKey, recovery_key_from_text, recovery_key_to_text,
};
use serde_json::json;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{
    super::{
        client::{AdminClient, ApiCall, ClientArgs},
        error::CliError,
        output,
    },
    keys,
};
use crate::admin::secret_keys::{
    BoxRow, KeysAnswer, PATH, RecoveryBoxes, RestoredBoxes, hex, read_hex,
};

/// The time in which a member that has the key makes boxes for the recovery key.
const BOXED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest file with a recovery key.
const TEXT_BYTES_MAX: u64 = 4096;

/// What can be done with the recovery key.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RecoveryKeyCommand {
    /// Make one and print it, once, to stdout; one that was made before opens nothing newer then
    Create(ClientArgs),
}

/// The options of `recover`.
#[derive(Debug, clap::Args)]
pub(super) struct RecoverArgs {
    /// File with the recovery key; `-`, which is the default, is stdin
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn create(args: ClientArgs) -> Result<(), CliError> {
    let client = AdminClient::new(&args)?;
    let key = SealKey::generate().map_err(|error| CliError::Refused(error.to_string()))?;
    let public_key = hex(&key.public().0);
    let body = json!({"public_key": public_key});
    let call = ApiCall::new(Method::PUT, format!("{PATH}/recovery")).json(&body);
    let mut keys: KeysAnswer = client.send(call).await?.good()?.json()?;
    let until = Instant::now() + BOXED_WITHIN;
    while !keys.recoverable {
        if Instant::now() > until {
            return Err(CliError::Unreachable(
                "no member has put the cluster's key into a box for the recovery key: is there one that can open the secrets (quorate secret status)? This recovery key is thrown away; make another one then".into(),
            ));
        }
        sleep(LOOK_EVERY).await;
        keys = client.get_json(PATH).await?;
    }
    let boxes: RecoveryBoxes = client.get_json(format!("{PATH}/boxes")).await?;
    if open(&boxes, &key)?.is_empty() {
        return Err(CliError::Refused(
            "the boxes for the recovery key are gone again: another one was made at the same time"
                .into(),
        ));
    }
    output::line(recovery_key_to_text(&key).as_str())?;
    quorate_log::print_note(
        "this line is shown once: keep it where no member's disk and no backup of one is. With it, `quorate secret recover` brings the secrets back when all members have lost their keys folders",
    );
    Ok(())
}

pub(super) async fn recover(args: RecoverArgs) -> Result<(), CliError> {
    let key = read_key(&args.file)?;
    let client = AdminClient::new(&args.client)?;
    let boxes: RecoveryBoxes = client.get_json(format!("{PATH}/boxes")).await?;
    let opened = open(&boxes, &key)?;
    if opened.is_empty() {
        return Err(CliError::Refused(
            "the cluster has nothing that its recovery key would open".into(),
        ));
    }
    let mut restored = Vec::new();
    for member in &boxes.members {
        let Some(public_key) = &member.public_key else {
            continue;
        };
        let parsed = read_hex(public_key)
            .ok_or_else(|| CliError::Refused(format!("{}'s key is no key", member.name)))?;
        for version in &opened {
            let content = version
                .wrap(&boxes.cluster, PublicSealKey(parsed))
                .map_err(|error| CliError::Refused(error.to_string()))?;
            restored.push(BoxRow {
                version: version.version(),
                owner: member.id,
                public_key: public_key.clone(),
                content: BASE64_STANDARD.encode(content),
            });
        }
    }
    let body = RestoredBoxes { boxes: restored };
    let call = ApiCall::new(Method::POST, format!("{PATH}/boxes")).json(&body);
    let answer: KeysAnswer = client.send(call).await?.good()?.json()?;
    keys::show(&args.client, &answer)
}

/// Opens every version of the cluster's key that the recovery key opens.
fn open(boxes: &RecoveryBoxes, key: &SealKey) -> Result<Vec<ClusterKey>, CliError> {
    let own = hex(&key.public().0);
    let open = |row: &BoxRow| {
        if row.public_key != own {
            return Err(CliError::Refused(format!(
                "this is not the recovery key of the cluster: its public key begins with {}, and the cluster's with {}",
                own.get(..16).unwrap_or(&own),
                row.public_key.get(..16).unwrap_or(&row.public_key)
            )));
        }
        let content = BASE64_STANDARD.decode(&row.content).unwrap_or_default();
        ClusterKey::unwrap(&boxes.cluster, row.version, key, &content).map_err(|error| {
            CliError::Refused(format!(
                "version {} of the cluster's key does not open: {error}",
                row.version
            ))
        })
    };
    boxes.boxes.iter().map(open).collect()
}

fn read_key(file: &Path) -> Result<SealKey, CliError> {
    let refused =
        |error: &dyn std::fmt::Display| CliError::Refused(format!("{}: {error}", file.display()));
    let mut text = Zeroizing::new(String::new());
    let read = if file == Path::new("-") {
        io::stdin().take(TEXT_BYTES_MAX).read_to_string(&mut text)
    } else {
        let open = std::fs::File::open(file);
        open.and_then(|it| it.take(TEXT_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| refused(&error))?;
    recovery_key_from_text(&text).map_err(|error| refused(&error))
}
