//! JSON: one object, an array of them, or `{"resources": [...]}`.

use quorate_resources::json::parse as parse_json;
use serde_json::Value;

use super::{ManifestError, RawDocument};

pub(super) fn read(text: &str) -> Result<Vec<RawDocument>, Vec<ManifestError>> {
    let value = parse_json(text.as_bytes()).map_err(|error| {
        let problem = format!("can't be read as JSON: {error}");
        let line = Some(error.line()).filter(|line| *line > 0);
        vec![ManifestError {
            line,
            problem,
            ..ManifestError::default()
        }]
    })?;
    let documents = match value {
        Value::Array(documents) => documents,
        Value::Object(mut map) if map.contains_key("resources") && !map.contains_key("kind") => {
            let documents = map.remove("resources");
            if let Some(other) = map.keys().next() {
                let problem = "must not stand beside `resources`".to_owned();
                let field = Some(other.clone());
                return Err(vec![ManifestError {
                    field,
                    problem,
                    ..ManifestError::default()
                }]);
            }
            match documents {
                Some(Value::Array(documents)) => documents,
                _ => {
                    let problem = "must be an array of resources".to_owned();
                    let field = Some("resources".to_owned());
                    return Err(vec![ManifestError {
                        field,
                        problem,
                        ..ManifestError::default()
                    }]);
                }
            }
        }
        one => vec![one],
    };
    let raw = |value| RawDocument {
        kind: None,
        value,
        line: None,
        fields: Vec::new(),
    };
    Ok(documents.into_iter().map(raw).collect())
}
