//! `quorate apply`
//!
//! A file is looked at as a whole before anything is written: by itself here, and against
//! what the cluster has by a member, which tries all of it on a copy of its state. Only
//! then are those put that are not there like this already, many at once and in their order;
//! each such batch is done whole or not at all. Should one fail all the same, because
//! something changed in between, it stops there and says how far it came: the same file
//! applied again goes on from there.

use std::{collections::HashSet, io::Read, path::PathBuf};

use http::Method;
use quorate_resources::{Kind, json::json_bytes};
use quorate_state::{BATCH_BYTES_MAX, BATCH_MAX};
use rustix::process::setpriority_process;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    client::{Call, Client, ClientArgs},
    failure::Failure,
    output::{self, Output},
};
use crate::{
    admin::{
        config::BatchWritten,
        validate::{BODY_BYTES_MAX, Fate, ValidateAnswer, Verdict},
    },
    manifest::{self, Document, Format},
};

/// The nice value, as of connector processes.
const BEHIND_MEMBERS: i32 = 5;

/// The options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file, `-` for stdin: YAML, JSON or TOML
    #[arg(short, long)]
    file: PathBuf,
    /// Check all of it, say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Applies a file.
pub async fn run(args: Args) -> Result<(), Failure> {
    // A large file keeps all processors busy, and members may run on this machine. Of this
    // thread and those that it starts; where it can't be had, the file is read all the same.
    let _ = setpriority_process(None, BEHIND_MEMBERS);
    let documents = read(&args.file)?;
    let client = Client::new(&args.client)?;
    let verdicts = validate(&client, &documents).await?;
    let mut done = Done {
        output: args.client.output,
        dry_run: args.dry_run,
        told: Vec::new(),
    };
    let judged: Vec<Judged> = documents.iter().zip(&verdicts).collect();
    for batch in batches(&judged) {
        let mut unchanged = HashSet::new();
        if !args.dry_run {
            unchanged = put(&client, batch)
                .await
                .map_err(|failure| done.stopped_at(batch, documents.len(), failure))?;
        }
        done.tell(batch, &unchanged)?;
        if !args.dry_run && documents.len() > BATCH_MAX {
            quorate_log::note(format_args!(
                "{} of {} are applied",
                done.told.len(),
                documents.len()
            ));
        }
    }
    done.finish()
}

/// A document, and what becomes of it.
type Judged<'a> = (&'a Document, &'a Verdict);

/// Cuts the documents, in their order, into pieces that one call can put.
fn batches<'a, 'd>(judged: &'a [Judged<'d>]) -> Vec<&'a [Judged<'d>]> {
    let mut batches = Vec::new();
    let (mut begin, mut count, mut bytes) = (0, 0, 0);
    for (position, (document, verdict)) in judged.iter().enumerate() {
        if verdict.fate == Fate::Unchanged {
            continue;
        }
        let more = json_bytes(&document.spec);
        if count == BATCH_MAX || (count > 0 && bytes + more > BATCH_BYTES_MAX) {
            batches.push(&judged[begin..position]);
            (begin, count, bytes) = (position, 0, 0);
        }
        count += 1;
        bytes += more;
    }
    batches.push(&judged[begin..]);
    batches
}

fn read(file: &PathBuf) -> Result<Vec<Document>, Failure> {
    let shown = file.display();
    let (text, path) = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| Failure::Refused(format!("can't read stdin: {error}")))?;
        (text, None)
    } else {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::Refused(format!("can't read {shown}: {error}")))?;
        (text, Some(file.as_path()))
    };
    manifest::parse(&text, Format::of(path, &text)).map_err(|faults| {
        let list: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        Failure::Refused(format!(
            "{shown} can't be applied, and nothing was written:{list}"
        ))
    })
}

/// What both calls are asked: a [`crate::admin::validate::ValidateRequest`] without copies.
#[derive(Serialize)]
struct Asked<'d> {
    resources: Vec<AskedResource<'d>>,
}

#[derive(Serialize)]
struct AskedResource<'d> {
    kind: Kind,
    name: &'d str,
    spec: &'d Value,
}

impl<'d> Asked<'d> {
    fn of(documents: impl Iterator<Item = &'d Document>) -> Asked<'d> {
        let resource = |it: &'d Document| AskedResource {
            kind: it.kind,
            name: &it.name,
            spec: &it.spec,
        };
        Asked {
            resources: documents.map(resource).collect(),
        }
    }
}

/// Asks a member what would become of each.
async fn validate(client: &Client, documents: &[Document]) -> Result<Vec<Verdict>, Failure> {
    let call = Call::new(Method::POST, "/v1/config/validate")
        .json(&Asked::of(documents.iter()))
        .costly();
    let bytes = call.body_bytes();
    if bytes > BODY_BYTES_MAX {
        return Err(Failure::Refused(format!(
            "the {} resources of the file have {} MiB as JSON, and at most {} MiB are applied at once: nothing was written; cut the file into smaller ones, what others need first, and apply them one after another",
            documents.len(),
            bytes.div_ceil(1 << 20),
            BODY_BYTES_MAX >> 20,
        )));
    }
    let answer: ValidateAnswer = client.send(call).await?.good()?.json()?;
    let refused: String = answer
        .verdicts
        .iter()
        .zip(documents)
        .filter(|(verdict, _)| verdict.fate == Fate::Refused)
        .flat_map(|(verdict, document)| {
            verdict
                .errors
                .iter()
                .map(move |error| fault(document, error))
        })
        .collect();
    if !refused.is_empty() {
        return Err(Failure::Refused(format!(
            "refused, and nothing was written:{refused}"
        )));
    }
    if answer.verdicts.len() != documents.len() {
        return Err(Failure::Refused(
            "the member did not judge every document; is it of another version?".into(),
        ));
    }
    Ok(answer.verdicts)
}

fn fault(document: &Document, error: &crate::admin::validate::FieldVerdict) -> String {
    let line = document
        .line
        .map(|line| format!(", line {line}"))
        .unwrap_or_default();
    let field = if error.field.is_empty() {
        String::new()
    } else {
        format!(", {}", error.field)
    };
    let value = if error.value.is_empty() {
        String::new()
    } else {
        format!(" (it is {:?})", error.value)
    };
    format!(
        "\n  document {}{line}, {}/{}{field}: {}{value}",
        document.number, document.kind, document.name, error.problem
    )
}

/// Puts those of a batch that are not there like this already. Returns those that were all
/// the same: of one with a secret this isn't told before.
async fn put(client: &Client, batch: &[Judged<'_>]) -> Result<HashSet<String>, Failure> {
    let puts = batch
        .iter()
        .filter(|(_, verdict)| verdict.fate != Fate::Unchanged);
    let asked = Asked::of(puts.map(|(document, _)| *document));
    if asked.resources.is_empty() {
        return Ok(HashSet::new());
    }
    let call = Call::new(Method::POST, "/v1/config/apply").json(&asked);
    let written: BatchWritten = client.send(call).await?.good()?.json()?;
    for warning in &written.warnings {
        quorate_log::note(format_args!("warning: {warning}"));
    }
    Ok(written.unchanged.into_iter().collect())
}

/// What was done, told as it is done, or at the end as one JSON.
struct Done {
    output: Output,
    dry_run: bool,
    told: Vec<serde_json::Value>,
}

impl Done {
    /// Tells a batch in one piece: a write for each of many lines takes longer than the rest.
    fn tell(&mut self, batch: &[Judged<'_>], unchanged: &HashSet<String>) -> Result<(), Failure> {
        let mut lines = String::new();
        for (Document { kind, name, .. }, Verdict { fate, .. }) in batch {
            let fate = match unchanged.contains(&format!("{kind}/{name}")) {
                true => &Fate::Unchanged,
                false => fate,
            };
            self.told
                .push(json!({ "kind": kind, "name": name, "outcome": fate }));
            let would = if self.dry_run && *fate != Fate::Unchanged {
                "would be "
            } else {
                ""
            };
            lines.push_str(&format!("{kind}/{name} {would}{}\n", word(*fate)));
        }
        match self.output {
            Output::Table => output::bytes(lines.as_bytes()),
            Output::Json => Ok(()),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self.output {
            Output::Table => Ok(()),
            Output::Json => {
                output::json(&json!({ "dry_run": self.dry_run, "resources": self.told }))
            }
        }
    }

    fn stopped_at(&self, batch: &[Judged<'_>], all: usize, failure: Failure) -> Failure {
        let put = || batch.iter().filter(|(_, it)| it.fate != Fate::Unchanged);
        let place =
            |(it, _): &Judged<'_>| format!("document {}, {}/{}", it.number, it.kind, it.name);
        let place = match (put().next(), put().next_back()) {
            (Some(first), Some(last)) if put().count() > 1 => {
                format!("{} to {}", place(first), place(last))
            }
            (first, _) => first.map(place).unwrap_or_default(),
        };
        let before = self.told.len();
        failure.about(format!(
            "{place} (stopped here: {before} of {all} are applied; apply the file again to go on)"
        ))
    }
}

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Created => "created",
        Fate::Changed => "changed",
        Fate::Unchanged => "unchanged",
        Fate::Refused => "refused",
    }
}
