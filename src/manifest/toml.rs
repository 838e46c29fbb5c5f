//! TOML: `[[kind]]` tables, or `[kind]` for a kind of which there is one. Documents
//! count in the order in which they stand in the file.

use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ManifestError, RawDocument, ValueError};

type TomlItem<'a> = Spanned<DeValue<'a>>;

pub(super) fn read(text: &str) -> Result<Vec<RawDocument>, Vec<ManifestError>> {
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |offset: usize| ends.partition_point(|end| *end < offset) + 1;
    let file = DeTable::parse(text).map_err(|error| {
        let problem = format!("can't be read as TOML: {}", error.message());
        let line = error.span().map(|span| line(span.start));
        vec![ManifestError {
            line,
            problem,
            ..ManifestError::default()
        }]
    })?;
    let mut found: Vec<(usize, RawDocument)> = Vec::new();
    let mut faults = Vec::new();
    for (kind, items) in file.get_ref() {
        let items: Vec<&TomlItem<'_>> = match items.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            DeValue::Table(_) => vec![items],
            _ => {
                faults.push(ManifestError {
                    line: Some(line(kind.span().start)),
                    field: Some(kind.get_ref().to_string()),
                    problem: "stands outside of a table: begin with the kind, such as [[service]]"
                        .into(),
                    ..ManifestError::default()
                });
                continue;
            }
        };
        for item in items {
            let at = item.span().start;
            match convert(item.get_ref()) {
                Ok(value) => {
                    let fields = fields(item.get_ref(), line);
                    let kind = Some(kind.get_ref().to_string()).filter(|kind| kind != "resources");
                    found.push((
                        at,
                        RawDocument {
                            kind,
                            value,
                            line: Some(line(at)),
                            fields,
                        },
                    ));
                }
                Err(problem) => {
                    let field = Some(kind.get_ref().to_string());
                    faults.push(ManifestError {
                        line: Some(line(at)),
                        field,
                        problem: problem.to_string(),
                        ..ManifestError::default()
                    });
                }
            }
        }
    }
    found.sort_by_key(|(at, _)| *at);
    if faults.is_empty() {
        Ok(found.into_iter().map(|(_, raw)| raw).collect())
    } else {
        Err(faults)
    }
}

fn fields(table: &DeValue<'_>, line: impl Fn(usize) -> usize) -> Vec<(String, usize)> {
    let Some(table) = table.as_table() else {
        return Vec::new();
    };
    table
        .iter()
        .map(|(field, _)| (field.get_ref().to_string(), line(field.span().start)))
        .collect()
}

fn convert(value: &DeValue<'_>) -> Result<Value, ValueError> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(it) => i64::from_str_radix(it.as_str(), it.radix())
            .map_err(|_| ValueError::TooLarge(it.to_string()))?
            .into(),
        DeValue::Float(it) => it
            .as_str()
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| ValueError::NotFinite(it.to_string()))?,
        DeValue::Boolean(it) => Value::Bool(*it),
        DeValue::Datetime(it) => Value::String(it.to_string()),
        DeValue::Array(list) => Value::Array(
            list.iter()
                .map(|it| convert(it.get_ref()))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, it)| Ok((key.get_ref().to_string(), convert(it.get_ref())?)))
                .collect::<Result<Map<_, _>, ValueError>>()?,
        ),
    })
}
