//! YAML: many documents in one stream.
//!
//! The stream is cut at its `---` lines here and not by the YAML reader, which would
//! stop at the first bad document and does not tell where one begins. So what stands before
//! such a line for its document, `%YAML 1.2`, is taken out here too.

use quorate_resources::json::UniqueKeys;
use serde_json::{Map, Value};

use super::{ManifestError, RawDocument, ValueError, parallel::in_parallel};

pub(super) fn read(text: &str) -> Result<Vec<RawDocument>, Vec<ManifestError>> {
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for part in in_parallel(parts(text), read_part) {
        let number = documents.len() + faults.len() + 1;
        match part {
            // nothing but comments
            Ok(RawDocument {
                value: Value::Null, ..
            }) => {}
            Ok(raw) => documents.push(raw),
            Err(fault) => faults.push(ManifestError {
                document: Some(number),
                ..*fault
            }),
        }
    }
    if faults.is_empty() {
        Ok(documents)
    } else {
        Err(faults)
    }
}

fn read_part(part: YamlPart) -> Result<RawDocument, Box<ManifestError>> {
    if let Some((line, directive)) = part.directive() {
        return Err(Box::new(ManifestError {
            line: Some(line),
            problem: format!(
                "the directive {directive:?} is not one that is read here, which are `%YAML 1.1` and `%YAML 1.2`: leave it out; resources have no tags"
            ),
            ..ManifestError::default()
        }));
    }
    let YamlPart { first_line, text } = part;
    match serde_norway::from_str::<UniqueKeys>(&text) {
        Ok(UniqueKeys(value)) => match merged(value) {
            Ok(value) => Ok(raw(value, first_line, &text)),
            Err(problem) => Err(Box::new(ManifestError {
                line: Some(first_line),
                field: Some(MERGE.to_owned()),
                problem: problem.to_string(),
                ..ManifestError::default()
            })),
        },
        Err(error) => Err(Box::new(ManifestError {
            line: error
                .location()
                .map(|at| first_line + at.line() - 1)
                .or(Some(first_line)),
            problem: format!("can't be read as YAML: {}", without_position(&error)),
            ..ManifestError::default()
        })),
    }
}

/// YAML 1.1's key for what a mapping takes over from others.
const MERGE: &str = "<<";

/// Resolves every merge key: a field beside the key wins over one of a source, and an earlier
/// source wins over a later one.
fn merged(value: Value) -> Result<Value, ValueError> {
    match value {
        Value::Array(items) => {
            let items: Result<_, _> = items.into_iter().map(merged).collect();
            items.map(Value::Array)
        }
        Value::Object(fields) => {
            let mut fields: Map<String, Value> = fields
                .into_iter()
                .map(|(name, value)| Ok((name, merged(value)?)))
                .collect::<Result<_, ValueError>>()?;
            let sources = match fields.remove(MERGE) {
                None => return Ok(Value::Object(fields)),
                Some(Value::Array(sources)) => sources,
                Some(source) => vec![source],
            };
            for source in sources {
                let Value::Object(source) = source else {
                    return Err(ValueError::MergeSource);
                };
                for (name, value) in source {
                    fields.entry(name).or_insert(value);
                }
            }
            Ok(Value::Object(fields))
        }
        other => Ok(other),
    }
}

/// The lines of one document, and the line of the file that is its first.
struct YamlPart {
    first_line: usize,
    text: String,
}

impl YamlPart {
    /// Returns the first directive that is no version, with its line.
    fn directive(&self) -> Option<(usize, &str)> {
        let lines = (self.first_line..).zip(self.text.lines());
        let rest = lines.filter(|(_, line)| !is_nothing(line));
        let mut directives = rest.take_while(|(_, line)| line.starts_with('%'));
        directives.find(|(_, line)| !is_version(line))
    }

    /// Removes a directive of YAML's version, where the part has nothing else: 1.1 and 1.2 are
    /// read alike.
    fn take_version_out(&mut self) {
        if self
            .text
            .lines()
            .all(|line| is_version(line) || is_nothing(line))
        {
            self.text.clear();
        }
    }
}

fn is_version(line: &str) -> bool {
    line.starts_with("%YAML 1.")
}

fn is_nothing(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn parts(text: &str) -> Vec<YamlPart> {
    let mut parts = vec![YamlPart {
        first_line: 1,
        text: String::new(),
    }];
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        // Only a document's border can begin like this: what stands inside of one and
        // could look like it, a block of text, is indented.
        let border = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if border.is_some()
            && let Some(part) = parts.last_mut()
        {
            part.take_version_out();
        }
        match (border, parts.last_mut()) {
            (None, _) if line.trim_end() == "..." => parts.push(YamlPart {
                first_line: number,
                text: "\n".to_owned(),
            }),
            (Some(rest), _) => parts.push(YamlPart {
                first_line: number,
                text: format!("   {rest}"),
            }),
            (None, Some(part)) => part.text.push_str(line),
            (None, None) => {}
        }
    }
    parts
}

fn raw(value: Value, first_line: usize, text: &str) -> RawDocument {
    let lines = || (first_line..).zip(text.lines());
    let begins = lines().find(|(_, line)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    let fields = lines()
        .filter_map(|(number, line)| {
            let (field, _) = line.split_once(':')?;
            value.get(field)?;
            Some((field.to_owned(), number))
        })
        .collect();
    RawDocument {
        kind: None,
        line: begins.map(|(number, _)| number),
        fields,
        value,
    }
}

/// Returns the reader's message without the position within the part; the error has the position
/// within the file.
fn without_position(error: &serde_norway::Error) -> String {
    let text = error.to_string();
    match error.location() {
        Some(at) => text.replacen(
            &format!(" at line {} column {}", at.line(), at.column()),
            "",
            1,
        ),
        None => text,
    }
}
