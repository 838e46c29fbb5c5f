//! `quorate apply`
//!
//! A file is looked at as a whole before anything is written: by itself here, and against
//! what the cluster has by a member, which tries all of it on a copy of its state. Only
//! then are the documents put, one after the other; should one fail all the same, because
//! something changed in between, it stops there and says how far it came.

use std::{io::Read, path::PathBuf};

use http::Method;
use serde_json::json;

use super::{
    client::{Call, Client, ClientArgs},
    failure::Failure,
    get,
    output::{self, Output},
};
use crate::{
    admin::validate::{Fate, ValidateAnswer, Verdict},
    manifest::{self, Document, Format},
};

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
    let documents = read(&args.file)?;
    let client = Client::new(&args.client)?;
    let verdicts = validate(&client, &documents).await?;
    let mut done = Done {
        output: args.client.output,
        dry_run: args.dry_run,
        told: Vec::new(),
    };
    for (document, verdict) in documents.iter().zip(&verdicts) {
        if args.dry_run || verdict.fate == Fate::Unchanged {
            done.tell(document, verdict.fate)?;
            continue;
        }
        let fate = put(&client, document)
            .await
            .map_err(|failure| done.stopped_at(document, documents.len(), failure))?;
        done.tell(document, fate)?;
    }
    done.finish()
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

/// Asks a member what would become of each.
async fn validate(client: &Client, documents: &[Document]) -> Result<Vec<Verdict>, Failure> {
    let resources: Vec<_> = documents
        .iter()
        .map(|it| json!({ "kind": it.kind, "name": it.name, "spec": it.spec }))
        .collect();
    let call = Call::new(Method::POST, "/v1/config/validate")
        .json(&json!({ "resources": resources }))
        .harmless();
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

async fn put(client: &Client, document: &Document) -> Result<Fate, Failure> {
    #[derive(serde::Deserialize)]
    struct Written {
        changed: bool,
        created: bool,
        #[serde(default)]
        warnings: Vec<String>,
    }
    let call =
        Call::new(Method::PUT, get::path(document.kind, &document.name)).json(&document.spec);
    let written: Written = client.send(call).await?.good()?.json()?;
    for warning in &written.warnings {
        eprintln!("warning: {}/{}: {warning}", document.kind, document.name);
    }
    Ok(match written {
        Written { created: true, .. } => Fate::Created,
        Written { changed: true, .. } => Fate::Changed,
        Written { .. } => Fate::Unchanged,
    })
}

/// What was done, told as it is done, or at the end as one JSON.
struct Done {
    output: Output,
    dry_run: bool,
    told: Vec<serde_json::Value>,
}

impl Done {
    fn tell(&mut self, document: &Document, fate: Fate) -> Result<(), Failure> {
        let Document { kind, name, .. } = document;
        self.told
            .push(json!({ "kind": kind, "name": name, "outcome": fate }));
        let would = if self.dry_run && fate != Fate::Unchanged {
            "would be "
        } else {
            ""
        };
        match self.output {
            Output::Table => output::line(format!("{kind}/{name} {would}{}", word(fate))),
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

    fn stopped_at(&self, document: &Document, all: usize, failure: Failure) -> Failure {
        let (number, kind, name) = (document.number, document.kind, &document.name);
        let before = self.told.len();
        failure.about(format!(
            "document {number}, {kind}/{name} (stopped here: {before} of {all} are applied)"
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
