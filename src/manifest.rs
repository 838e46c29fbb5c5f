//! Files of resources, as `quorate apply` reads them and `quorate export` writes them.
//!
//! A document is a resource's fields with its `kind` beside them. One file holds many:
//! - YAML: documents separated by `---`;
//! - JSON: one object, an array of them, or `{"resources": [...]}`;
//! - TOML: one table for each, `[[amqp_channel]]`; the kind is the table's name.
//!
//! Everything that can be checked without asking the cluster is checked here, all of it at once, so
//! that nothing of a bad file is written.

mod export;
mod json;
mod parallel;
mod toml;
mod yaml;

use std::{collections::HashMap, fmt, path::Path};

use parallel::in_parallel;
use quorate_resources::{Kind, json::parse as parse_json};
use quorate_state::check_parsed_resource;
use serde_json::Value;

pub use export::export;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestFormat {
    /// Documents separated by `---`.
    Yaml,
    /// An object, an array or `{"resources": [...]}`.
    Json,
    /// `[[kind]]` tables.
    Toml,
}

impl ManifestFormat {
    /// Detects the format by the file's name, or by the text where there is no name (stdin).
    pub fn detect(path: Option<&Path>, text: &str) -> ManifestFormat {
        let extension = path.and_then(Path::extension).and_then(|it| it.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("yaml" | "yml") => return ManifestFormat::Yaml,
            Some("json") => return ManifestFormat::Json,
            Some("toml") => return ManifestFormat::Toml,
            _ => {}
        }
        let first = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        let table = |line: &str| {
            line.split(['#', ' '])
                .next()
                .is_some_and(|it| it.ends_with(']'))
        };
        match first.unwrap_or_default() {
            line if line.starts_with("[[") && table(line) => ManifestFormat::Toml,
            line if line.starts_with(['{', '[']) && is_json(text) => ManifestFormat::Json,
            _ => ManifestFormat::Yaml,
        }
    }
}

/// Returns true if a text that begins with a bracket is JSON: YAML has a form with brackets too. A
/// text that is neither is taken for the one that it looks most like.
fn is_json(text: &str) -> bool {
    let quoted = || {
        text.trim_start_matches(|c: char| c.is_whitespace() || "{[".contains(c))
            .starts_with('"')
    };
    parse_json(text.as_bytes()).is_ok() || quoted() && yaml::read(text).is_err()
}

/// One resource of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestDocument {
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
    /// The resource's fields, without `kind`; the secret among them.
    pub spec: Value,
    /// The number of the document in the file, from 1.
    pub number: usize,
    /// The line on which the document begins, where that is known.
    pub line: Option<usize>,
}

/// An error in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestError {
    /// The document, from 1; `None`: the file as a whole.
    pub document: Option<usize>,
    /// The line, where that is known.
    pub line: Option<usize>,
    /// The resource, as `kind/name`, where that is known.
    pub resource: Option<String>,
    /// The field.
    pub field: Option<String>,
    /// The field's value; secrets are hidden.
    pub value: Option<String>,
    /// The rule that the value breaks.
    pub problem: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = Vec::new();
        if let Some(document) = self.document {
            place.push(format!("document {document}"));
        }
        if let Some(line) = self.line {
            place.push(format!("line {line}"));
        }
        place.extend(self.resource.clone());
        place.extend(self.field.clone());
        if !place.is_empty() {
            write!(f, "{}: ", place.join(", "))?;
        }
        f.write_str(&self.problem)?;
        match &self.value {
            Some(value) => write!(f, " (it is {value:?})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ManifestError {}

/// Reason why a value that a file's format can hold has no JSON form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ValueError {
    #[error("the number {0} is too large")]
    TooLarge(String),
    #[error("the number {0} is not finite")]
    NotFinite(String),
    #[error(
        "must be a mapping or a list of mappings, as in `<<: *defaults` where `&defaults` stands in the same document"
    )]
    MergeSource,
}

/// A document as it stands in a file.
struct RawDocument {
    /// The kind, where the file says it outside of the document.
    kind: Option<String>,
    value: Value,
    line: Option<usize>,
    /// The lines of its top-level fields, where they are known.
    fields: Vec<(String, usize)>,
}

/// Reads a file. The documents come in an order in which they can be applied: kinds that
/// others need first, and within a kind as they stand in the file.
pub fn parse(
    text: &str,
    format: ManifestFormat,
) -> Result<Vec<ManifestDocument>, Vec<ManifestError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let raw = match format {
        ManifestFormat::Yaml => yaml::read(text),
        ManifestFormat::Json => json::read(text),
        ManifestFormat::Toml => toml::read(text),
    }?;
    let mut documents: Vec<ManifestDocument> = Vec::new();
    let mut numbers: HashMap<(Kind, String), usize> = HashMap::new();
    let mut faults = Vec::new();
    let raw: Vec<(usize, RawDocument)> = (1..).zip(raw).collect();
    let read = in_parallel(raw, |(number, raw)| {
        (number, raw.line, document(number, raw))
    });
    for (number, line, document) in read {
        match document {
            Ok(it) => match numbers.get(&(it.kind, it.name.clone())) {
                Some(other) => faults.push(ManifestError {
                    document: Some(number),
                    line,
                    resource: Some(format!("{}/{}", it.kind, it.name)),
                    problem: format!("stands in the file twice: document {other} is it too"),
                    ..ManifestError::default()
                }),
                None => {
                    numbers.insert((it.kind, it.name.clone()), number);
                    documents.push(it);
                }
            },
            Err(found) => faults.extend(found),
        }
    }
    if documents.is_empty() && faults.is_empty() {
        let problem = "there are no resources in it".to_owned();
        faults.push(ManifestError {
            problem,
            ..ManifestError::default()
        });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    documents.sort_by_key(|it| it.kind);
    Ok(documents)
}

/// The place of a document in its file.
struct DocumentPlace {
    number: usize,
    line: Option<usize>,
    fields: Vec<(String, usize)>,
}

impl DocumentPlace {
    /// Returns the line of a field, such as `headers[0].name`; the document's where that is not
    /// known.
    fn line_of(&self, field: &str) -> Option<usize> {
        let top = field.split(['.', '[']).next().unwrap_or(field);
        let line = self.fields.iter().find(|(name, _)| name == top);
        line.map(|(_, line)| *line).or(self.line)
    }

    fn error(&self, field: &str, value: &str, problem: String) -> ManifestError {
        ManifestError {
            document: Some(self.number),
            line: self.line_of(field),
            resource: None,
            field: (!field.is_empty()).then(|| field.to_owned()),
            value: (!value.is_empty()).then(|| value.to_owned()),
            problem,
        }
    }
}

fn document(number: usize, raw: RawDocument) -> Result<ManifestDocument, Vec<ManifestError>> {
    let RawDocument {
        kind: outside,
        mut value,
        line,
        fields,
    } = raw;
    let place = DocumentPlace {
        number,
        line,
        fields,
    };
    let Some(map) = value.as_object_mut() else {
        let mut problem = "must be an object with `kind` and the resource's fields".to_owned();
        // Of YAML, where the line is known; in JSON a list of resources is one for each.
        if value.is_array() && line.is_some() {
            problem += ", and it is a list: write each resource as a document of its own, with a line `---` in between";
        }
        return Err(vec![place.error("", "", problem)]);
    };
    let inside = map.remove("kind");
    let kind =
        kind_of(&place, outside.as_deref(), inside.as_ref()).map_err(|error| vec![*error])?;
    let name = map
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    // An absent or bad name is found among the fields.
    let under = if quorate_resources::check_name(&name).is_ok() {
        name.as_str()
    } else {
        "-"
    };
    check_parsed_resource(kind, under, &value).map_err(|errors| {
        let resource = (under == name).then(|| format!("{kind}/{name}"));
        let error = |error: quorate_proto::command::FieldError| ManifestError {
            resource: resource.clone(),
            ..place.error(&error.field, &error.value, error.problem)
        };
        errors.into_iter().map(error).collect::<Vec<_>>()
    })?;
    Ok(ManifestDocument {
        kind,
        name,
        spec: value,
        number,
        line,
    })
}

/// Returns the kind of a document, from a TOML table's name (`outside`) or its own field
/// (`inside`).
fn kind_of(
    place: &DocumentPlace,
    outside: Option<&str>,
    inside: Option<&Value>,
) -> Result<Kind, Box<ManifestError>> {
    let error = |value: &str, problem: String| Box::new(place.error("kind", value, problem));
    let kind = match (outside, inside) {
        (Some(kind), None) => kind,
        (_, Some(Value::String(kind))) => kind.as_str(),
        (_, Some(_)) => return Err(error("", "must be a text such as service".to_owned())),
        (None, None) => {
            let kinds = Kind::names();
            return Err(error("", format!("is required; it is one of {kinds}")));
        }
    };
    if let Some(outside) = outside.filter(|outside| *outside != kind) {
        let problem = format!("must be left out or {outside:?}, as the table's name says");
        return Err(error(kind, problem));
    }
    kind.parse()
        .map_err(|unknown: quorate_resources::UnknownKind| error("", unknown.to_string()))
}

#[cfg(test)]
mod tests;
