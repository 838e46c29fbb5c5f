//! `quorate apply`
//!
//! A file is checked as a whole before anything is written: by itself here, and against the
//! cluster's state by a member, which tries all of it on a copy. Only then are the resources put
//! that are not there like this already, many at once and in their order; each such batch is done
//! whole or not at all. Should one fail all the same, because something changed in between, the
//! command stops there and reports how far it came: the same file applied again goes on from there.

use std::{collections::HashSet, io::Read, path::PathBuf};

use http::Method;
use quorate_resources::{Kind, json::json_bytes};
use quorate_state::{BATCH_BYTES_MAX, BATCH_MAX};
use rustix::process::setpriority_process;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    client::{AdminClient, ApiCall, ClientArgs},
    error::CliError,
    output::{self, OutputFormat},
};
use crate::{
    admin::{
        config::BatchWritten,
        validate::{ApplyEffect, BODY_BYTES_MAX, ResourceVerdict, ValidateAnswer},
    },
    manifest::{self, ManifestDocument, ManifestFormat},
};

/// The nice value, as of connector processes.
const BEHIND_MEMBERS: i32 = 5;

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
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
pub(super) async fn run(args: ApplyArgs) -> Result<(), CliError> {
    // A large file keeps all processors busy, and members may run on this machine. Of this
    // thread and those that it starts; where it can't be had, the file is read all the same.
    let _ = setpriority_process(None, BEHIND_MEMBERS);
    let documents = read(&args.file)?;
    let client = AdminClient::new(&args.client)?;
    let verdicts = validate(&client, &documents).await?;
    let mut done = ApplyReport {
        output: args.client.output,
        dry_run: args.dry_run,
        reported: Vec::new(),
    };
    let judged: Vec<JudgedDocument> = documents.iter().zip(&verdicts).collect();
    for batch in batches(&judged) {
        let mut unchanged = HashSet::new();
        if !args.dry_run {
            unchanged = put(&client, batch)
                .await
                .map_err(|failure| done.stopped_at(batch, documents.len(), failure))?;
        }
        done.report_batch(batch, &unchanged)?;
        if !args.dry_run && documents.len() > BATCH_MAX {
            quorate_log::print_note(format_args!(
                "{} of {} are applied",
                done.reported.len(),
                documents.len()
            ));
        }
    }
    done.finish()
}

/// A document, and the effect of putting it.
type JudgedDocument<'a> = (&'a ManifestDocument, &'a ResourceVerdict);

/// Cuts the documents, in their order, into pieces that one call can put.
fn batches<'a, 'd>(judged: &'a [JudgedDocument<'d>]) -> Vec<&'a [JudgedDocument<'d>]> {
    let mut batches = Vec::new();
    let (mut begin, mut count, mut bytes) = (0, 0, 0);
    for (position, (document, verdict)) in judged.iter().enumerate() {
        if verdict.fate == ApplyEffect::Unchanged {
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

fn read(file: &PathBuf) -> Result<Vec<ManifestDocument>, CliError> {
    let shown = file.display();
    let (text, path) = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| CliError::Refused(format!("can't read stdin: {error}")))?;
        (text, None)
    } else {
        let text = std::fs::read_to_string(file)
            .map_err(|error| CliError::Refused(format!("can't read {shown}: {error}")))?;
        (text, Some(file.as_path()))
    };
    manifest::parse(&text, ManifestFormat::detect(path, &text)).map_err(|faults| {
        let list: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        CliError::Refused(format!(
            "{shown} can't be applied, and nothing was written:{list}"
        ))
    })
}

/// The body of both calls: a [`crate::admin::validate::ValidateRequest`] without copies.
#[derive(Serialize)]
struct ApplyRequest<'d> {
    resources: Vec<RequestedResource<'d>>,
}

#[derive(Serialize)]
struct RequestedResource<'d> {
    kind: Kind,
    name: &'d str,
    spec: &'d Value,
}

impl<'d> ApplyRequest<'d> {
    fn from_documents(documents: impl Iterator<Item = &'d ManifestDocument>) -> ApplyRequest<'d> {
        let resource = |it: &'d ManifestDocument| RequestedResource {
            kind: it.kind,
            name: &it.name,
            spec: &it.spec,
        };
        ApplyRequest {
            resources: documents.map(resource).collect(),
        }
    }
}

/// Asks a member for the effect of each document.
async fn validate(
    client: &AdminClient,
    documents: &[ManifestDocument],
) -> Result<Vec<ResourceVerdict>, CliError> {
    let call = ApiCall::new(Method::POST, "/v1/config/validate")
        .json(&ApplyRequest::from_documents(documents.iter()))
        .costly();
    let bytes = call.body_bytes();
    if bytes > BODY_BYTES_MAX {
        return Err(CliError::Refused(format!(
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
        .filter(|(verdict, _)| verdict.fate == ApplyEffect::Refused)
        .flat_map(|(verdict, document)| {
            verdict
                .errors
                .iter()
                .map(move |error| fault(document, error))
        })
        .collect();
    if !refused.is_empty() {
        return Err(CliError::Refused(format!(
            "refused, and nothing was written:{refused}"
        )));
    }
    if answer.verdicts.len() != documents.len() {
        return Err(CliError::Refused(
            "the member did not judge every document; is it of another version?".into(),
        ));
    }
    Ok(answer.verdicts)
}

fn fault(document: &ManifestDocument, error: &crate::admin::validate::FieldVerdict) -> String {
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

/// Puts the resources of a batch that are not there like this already. Returns those that turned
/// out unchanged: of a resource with a secret that is not known before.
async fn put(
    client: &AdminClient,
    batch: &[JudgedDocument<'_>],
) -> Result<HashSet<String>, CliError> {
    let puts = batch
        .iter()
        .filter(|(_, verdict)| verdict.fate != ApplyEffect::Unchanged);
    let asked = ApplyRequest::from_documents(puts.map(|(document, _)| *document));
    if asked.resources.is_empty() {
        return Ok(HashSet::new());
    }
    let call = ApiCall::new(Method::POST, "/v1/config/apply").json(&asked);
    let written: BatchWritten = client.send(call).await?.good()?.json()?;
    for warning in &written.warnings {
        quorate_log::print_note(format_args!("warning: {warning}"));
    }
    Ok(written.unchanged.into_iter().collect())
}

/// The effects so far, reported one by one, or at the end as one JSON.
struct ApplyReport {
    output: OutputFormat,
    dry_run: bool,
    reported: Vec<serde_json::Value>,
}

impl ApplyReport {
    /// Reports a batch in one piece: a write for each of many lines takes longer than the rest.
    fn report_batch(
        &mut self,
        batch: &[JudgedDocument<'_>],
        unchanged: &HashSet<String>,
    ) -> Result<(), CliError> {
        let mut lines = String::new();
        for (ManifestDocument { kind, name, .. }, ResourceVerdict { fate, .. }) in batch {
            let fate = match unchanged.contains(&format!("{kind}/{name}")) {
                true => &ApplyEffect::Unchanged,
                false => fate,
            };
            self.reported
                .push(json!({ "kind": kind, "name": name, "outcome": fate }));
            let would = if self.dry_run && *fate != ApplyEffect::Unchanged {
                "would be "
            } else {
                ""
            };
            lines.push_str(&format!("{kind}/{name} {would}{}\n", word(*fate)));
        }
        match self.output {
            OutputFormat::Table => output::bytes(lines.as_bytes()),
            OutputFormat::Json => Ok(()),
        }
    }

    fn finish(self) -> Result<(), CliError> {
        match self.output {
            OutputFormat::Table => Ok(()),
            OutputFormat::Json => {
                output::json(&json!({ "dry_run": self.dry_run, "resources": self.reported }))
            }
        }
    }

    fn stopped_at(&self, batch: &[JudgedDocument<'_>], all: usize, failure: CliError) -> CliError {
        let put = || {
            batch
                .iter()
                .filter(|(_, it)| it.fate != ApplyEffect::Unchanged)
        };
        let place = |(it, _): &JudgedDocument<'_>| {
            format!("document {}, {}/{}", it.number, it.kind, it.name)
        };
        let place = match (put().next(), put().next_back()) {
            (Some(first), Some(last)) if put().count() > 1 => {
                format!("{} to {}", place(first), place(last))
            }
            (first, _) => first.map(place).unwrap_or_default(),
        };
        let before = self.reported.len();
        failure.about(format!(
            "{place} (stopped here: {before} of {all} are applied; apply the file again to go on)"
        ))
    }
}

fn word(fate: ApplyEffect) -> &'static str {
    match fate {
        ApplyEffect::Created => "created",
        ApplyEffect::Changed => "changed",
        ApplyEffect::Unchanged => "unchanged",
        ApplyEffect::Refused => "refused",
    }
}
