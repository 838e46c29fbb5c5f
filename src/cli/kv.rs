//! `quorate kv`

mod sse_parser;
mod watch;

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{
    argument_error::CliArgumentError,
    client::{AdminClient, ApiCall, ClientArgs},
    error::CliError,
    output::{self, OutputFormat},
};

/// Slashes stay: a key is the rest of the path.
const KEY: AsciiSet = NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The most keys that a member lists at a time.
const PAGE: usize = 1000;

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct KvArgs {
    #[command(subcommand)]
    command: KvCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KvCommand {
    /// Write a key's value to stdout, as it is
    Get {
        /// The key
        key: String,
        /// From the answering member's own state, which may be a little behind
        #[arg(long)]
        stale: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Set a key
    Put {
        /// The key
        key: String,
        /// The value; `-` reads it from stdin, where it shows in no list of processes and no
        /// history of a shell
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        value: Option<String>,
        /// A file with the value, `-` for stdin
        #[arg(short, long)]
        file: Option<PathBuf>,
        #[command(flatten)]
        precondition: PreconditionArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a key
    Delete {
        /// The key
        key: String,
        #[command(flatten)]
        precondition: PreconditionArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List keys and values
    List {
        #[command(flatten)]
        prefix: PrefixArgs,
        /// At most this many
        #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
        limit: usize,
        /// Only keys that sort after this one
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Print each change of a key as it comes, whichever member is lost
    Watch {
        #[command(flatten)]
        prefix: PrefixArgs,
        /// Also what came before, from this revision on; from now on if left out
        #[arg(long, value_name = "REV")]
        from: Option<u64>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, clap::Args)]
struct PrefixArgs {
    /// Only keys that begin with this
    #[arg(value_name = "PREFIX")]
    keys: Option<String>,
    /// The same
    #[arg(long, value_name = "PREFIX", conflicts_with = "keys")]
    prefix: Option<String>,
}

impl PrefixArgs {
    fn text(self) -> String {
        self.keys.or(self.prefix).unwrap_or_default()
    }
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct PreconditionArgs {
    /// Only if the key has this revision
    #[arg(long, value_name = "REV")]
    if_match: Option<u64>,
    /// Only if the key does not exist
    #[arg(long)]
    if_absent: bool,
}

impl PreconditionArgs {
    fn onto(&self, call: ApiCall) -> Result<ApiCall, CliError> {
        match self.if_match {
            Some(revision) => call.header(header::IF_MATCH, &format!("\"{revision}\"")),
            None if self.if_absent => call.header(header::IF_NONE_MATCH, "*"),
            None => Ok(call),
        }
    }
}

/// `GET /v1/kv`
#[derive(Debug, Default, Serialize, Deserialize)]
struct KeyPage {
    entries: Vec<KeyEntry>,
    revision: u64,
    #[serde(default)]
    more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyEntry {
    key: String,
    revision: u64,
    value_base64: String,
}

/// Runs a command on keys and values.
pub(super) async fn run(args: KvArgs) -> Result<(), CliError> {
    if let KvCommand::Get { key, .. } | KvCommand::Put { key, .. } | KvCommand::Delete { key, .. } =
        &args.command
    {
        check(key)?;
    }
    match args.command {
        KvCommand::Get { key, stale, client } => get(&key, stale, &client).await,
        KvCommand::Put {
            key,
            value,
            file,
            precondition,
            client,
        } => {
            let value = match (value, file) {
                (Some(value), _) if value == "-" => read(Path::new("-"))?,
                (Some(value), _) => value.into_bytes(),
                (None, Some(file)) => read(&file)?,
                (None, None) => return Err(CliError::Usage("give a value or --file".into())),
            };
            let call = precondition.onto(ApiCall::new(Method::PUT, path(&key)).raw(value))?;
            let answer = AdminClient::new(&client)?.send(call).await?.good()?;
            quorate_log::print_note(format_args!(
                "{key} has revision {}",
                answer.revision().unwrap_or_default()
            ));
            Ok(())
        }
        KvCommand::Delete {
            key,
            precondition,
            client,
        } => {
            let call = precondition.onto(ApiCall::new(Method::DELETE, path(&key)))?;
            AdminClient::new(&client)?.send(call).await?.good()?;
            quorate_log::print_note(format_args!("{key} deleted"));
            Ok(())
        }
        KvCommand::List {
            prefix,
            limit,
            after,
            client,
        } => list(&prefix.text(), limit, after.as_deref(), &client).await,
        KvCommand::Watch {
            prefix,
            from,
            client,
        } => watch::run(prefix.text(), from, &client).await,
    }
}

async fn get(key: &str, stale: bool, client: &ClientArgs) -> Result<(), CliError> {
    let query = if stale { "?consistency=stale" } else { "" };
    let answer = AdminClient::new(client)?
        .get(format!("{}{query}", path(key)))
        .await?;
    match client.output {
        OutputFormat::Table => output::bytes(&answer.body),
        OutputFormat::Json => output::json(&KeyEntry {
            key: key.to_owned(),
            revision: answer
                .revision()
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
            value_base64: STANDARD.encode(&answer.body),
        }),
    }
}

async fn list(
    prefix: &str,
    limit: usize,
    after: Option<&str>,
    client: &ClientArgs,
) -> Result<(), CliError> {
    let listing = pages(&AdminClient::new(client)?, prefix, limit, after).await?;
    if client.output == OutputFormat::Json {
        return output::json(&listing);
    }
    let rows = listing.entries.iter().map(|entry| {
        vec![
            entry.key.clone(),
            entry.revision.to_string(),
            shown(&entry.value_base64),
        ]
    });
    output::table(&["key", "revision", "value"], rows)?;
    if listing.more {
        quorate_log::print_note(format_args!(
            "there are more: --limit N shows more of them, --after KEY goes on"
        ));
    }
    Ok(())
}

/// Lists keys page by page; each page is as of its own moment.
async fn pages(
    client: &AdminClient,
    prefix: &str,
    limit: usize,
    after: Option<&str>,
) -> Result<KeyPage, CliError> {
    let mut all = KeyPage::default();
    let mut after = after.map(str::to_owned);
    loop {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let page = (limit - all.entries.len()).min(PAGE);
        query
            .append_pair("prefix", prefix)
            .append_pair("limit", &page.to_string());
        if let Some(after) = &after {
            query.append_pair("after", after);
        }
        let path = format!("/v1/kv?{}", query.finish());
        let listing: KeyPage = client.get_json(path).await?;
        after = listing.entries.last().map(|entry| entry.key.clone());
        (all.revision, all.more) = (listing.revision, listing.more && after.is_some());
        all.entries.extend(listing.entries);
        if !all.more || all.entries.len() >= limit {
            return Ok(all);
        }
    }
}

/// Shows a value in a table's cell: its text on one line, or the number of its bytes.
fn shown(base64: &str) -> String {
    const LONGEST: usize = 60;
    let bytes = STANDARD.decode(base64).unwrap_or_default();
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.chars().count() <= LONGEST && !text.chars().any(char::is_control) => {
            text.to_owned()
        }
        _ => format!("({} bytes)", bytes.len()),
    }
}

/// Refuses keys that a URL can't carry: every client and proxy folds `.` and `..` away.
fn check(key: &str) -> Result<(), CliError> {
    if key.is_empty() || key.split('/').any(|part| part == "." || part == "..") {
        return Err(CliError::Usage(format!(
            "{key:?} can't be a key: it must not be empty, and no part of it may be . or .."
        )));
    }
    Ok(())
}

fn at_least_one(text: &str) -> Result<usize, CliArgumentError> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(CliArgumentError::Count),
    }
}

fn path(key: &str) -> String {
    format!("/v1/kv/{}", utf8_percent_encode(key, &KEY))
}

/// Reads a file, or stdin for `-`.
fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    if file.as_os_str() == "-" {
        let _ = std::io::stderr().flush();
        let mut bytes = Vec::new();
        return match std::io::stdin().lock().read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(CliError::Refused(format!("can't read stdin: {error}"))),
        };
    }
    std::fs::read(file)
        .map_err(|error| CliError::Refused(format!("can't read {}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_but_for_their_slashes() {
        assert_eq!(path("a/b c?d%é"), "/v1/kv/a/b%20c%3Fd%25%C3%A9");
    }

    #[test]
    fn keys_that_a_url_would_fold_are_refused() {
        for bad in ["", ".", "a/../b", "./a", "a/."] {
            assert!(matches!(check(bad), Err(CliError::Usage(_))), "{bad:?}");
        }
        for good in ["a", "...", "a/.b", "/a", "a//b"] {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn values_that_would_break_a_table_are_counted() {
        assert_eq!(shown(&STANDARD.encode("plain text")), "plain text");
        assert_eq!(shown(&STANDARD.encode("two\nlines")), "(9 bytes)");
        assert_eq!(shown(&STANDARD.encode([0xff, 0xfe])), "(2 bytes)");
    }
}
