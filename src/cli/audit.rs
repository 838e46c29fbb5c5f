//! `quorate audit`

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use quorate_resources::json;
use quorate_state::chained_audit_hash;

use super::{
    error::CliError,
    host::HostArgs,
    output::{self, OutputFormat},
    token::encoded,
};
use crate::admin::{
    audit::{AuditAnswer, AuditRow, hexadecimal},
    tokens::rfc_3339,
};

/// The options.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// The number of the first line
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
    /// Of this identity alone
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Check that no line of a member's file was edited or cut out
    Verify {
        /// The file, audit/audit.jsonl beside the data folder
        file: PathBuf,
    },
}

/// Shows who has changed what, or checks a file.
pub(super) async fn run(args: AuditArgs) -> Result<(), CliError> {
    if let Some(AuditCommand::Verify { file }) = &args.command {
        return verify(file);
    }
    let client = args.host.client()?;
    let mut path = format!("/v1/audit?limit=1000&from={}", args.from);
    if let Some(actor) = &args.actor {
        path.push_str(&format!("&actor={}", encoded(actor)));
    }
    let answer: AuditAnswer = client.get_json(path).await?;
    if args.host.client.output == OutputFormat::Json {
        return output::json(&answer);
    }
    let header = [
        "seq", "time", "actor", "via", "source", "action", "kind", "name", "outcome",
    ];
    output::table(&header, answer.lines.iter().map(columns))
}

fn columns(row: &AuditRow) -> Vec<String> {
    let text = |field: &str| row.line[field].as_str().unwrap_or_default().to_owned();
    let number = |field: &str| row.line[field].as_u64().unwrap_or_default();
    let mut columns = vec![number("seq").to_string(), rfc_3339(number("time_ms"))];
    let texts = [
        "actor", "via", "source", "action", "kind", "name", "outcome",
    ];
    columns.extend(texts.map(text));
    columns
}

/// A line that is not what was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum BrokenChain {
    #[error("line {0} is no line of an audit trail")]
    Unreadable(usize),
    #[error("line {0} was edited: its hash is another one")]
    Edited(usize),
    #[error("before line {0} one or more lines are missing, or were put elsewhere")]
    Cut(usize),
}

fn verify(file: &Path) -> Result<(), CliError> {
    let failed = |what: String| CliError::Refused(format!("{}: {what}", file.display()));
    let lines = File::open(file).map(|it| BufReader::new(it).lines());
    let lines = lines.map_err(|error| failed(error.to_string()))?;
    let mut chain = AuditChain::default();
    for line in lines {
        let line = line.map_err(|error| failed(error.to_string()))?;
        let checked = chain.check(&line);
        checked.map_err(|broken| failed(broken.to_string()))?;
    }
    output::line(format!(
        "{} lines, unbroken up to seq {} with hash {}; compare these with `quorate audit --output json` of the cluster",
        chain.lines, chain.seq, chain.hash
    ))
}

/// The chain up to a line.
#[derive(Default)]
struct AuditChain {
    lines: usize,
    seq: u64,
    hash: String,
}

impl AuditChain {
    fn check(&mut self, line: &str) -> Result<(), BrokenChain> {
        self.lines += 1;
        let here = self.lines;
        let row: AuditRow =
            serde_json::from_str(line).map_err(|_| BrokenChain::Unreadable(here))?;
        let prev = bytes_of(&row.prev).ok_or(BrokenChain::Unreadable(here))?;
        let hash = chained_audit_hash(&prev, &json::canonical(&row.line));
        if hexadecimal(&hash) != row.hash {
            return Err(BrokenChain::Edited(here));
        }
        let seq = row.line["seq"].as_u64().unwrap_or_default();
        if here > 1 && (row.prev != self.hash || seq != self.seq + 1) {
            return Err(BrokenChain::Cut(here));
        }
        self.seq = seq;
        self.hash = row.hash;
        Ok(())
    }
}

fn bytes_of(hexadecimal: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hexadecimal.len() != 64 || !hexadecimal.is_ascii() {
        return None;
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hexadecimal[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(count: u64) -> Vec<String> {
        let mut prev = [0; 32];
        let one = |seq: u64| {
            let line = json!({"seq": seq, "actor": "ann"});
            let hash = chained_audit_hash(&prev, &json::canonical(&line));
            let row = AuditRow {
                line,
                prev: hexadecimal(&prev),
                hash: hexadecimal(&hash),
            };
            prev = hash;
            serde_json::to_string(&row).unwrap()
        };
        (1..=count).map(one).collect()
    }

    fn check(lines: &[String]) -> Result<(), BrokenChain> {
        let mut chain = AuditChain::default();
        lines.iter().try_for_each(|line| chain.check(line))
    }

    /// Security test 59, for a file.
    // guarantee: AUDIT-1
    #[test]
    fn edited_or_cut_line_is_found() {
        assert_eq!(check(&lines(5)), Ok(()));
        // The oldest lines may have been put aside.
        assert_eq!(check(&lines(5)[2..]), Ok(()));
        let mut edited = lines(5);
        edited[2] = edited[2].replace("ann", "bob");
        assert_eq!(check(&edited), Err(BrokenChain::Edited(3)));
        let mut cut = lines(5);
        cut.remove(2);
        assert_eq!(check(&cut), Err(BrokenChain::Cut(3)));
        let mut swapped = lines(5);
        swapped.swap(1, 2);
        assert_eq!(check(&swapped), Err(BrokenChain::Cut(2)));
        let torn = [lines(1), vec!["{".into()]].concat();
        assert_eq!(check(&torn), Err(BrokenChain::Unreadable(2)));
    }
}
