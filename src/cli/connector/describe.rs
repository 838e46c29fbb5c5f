//! `quorate connector describe`

use serde::Serialize;
use serde_json::Value;

use super::ConnectorTarget;
use crate::{
    admin::standbys::ConnectorRow,
    cli::{
        client::AdminClient,
        error::CliError,
        output::{self, OutputFormat},
    },
};

/// A connector as it is declared and as it runs.
#[derive(Serialize)]
struct ConnectorDescription {
    /// The resource, without its secret.
    resource: Value,
    /// The status; none where no member runs it.
    connector: Option<ConnectorRow>,
}

/// Prints the description.
pub(super) async fn run(one: ConnectorTarget) -> Result<(), CliError> {
    let client = AdminClient::new(&one.client)?;
    let resource: Value = client
        .get_json(format!("/v1/config/{}", one.path()))
        .await?;
    let connector = one.row(&client).await?;
    let description = ConnectorDescription {
        resource,
        connector,
    };
    match one.client.output {
        OutputFormat::Json => output::json(&description),
        OutputFormat::Table => table(&description),
    }
}

fn table(description: &ConnectorDescription) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let declared = description
        .resource
        .get("spec")
        .unwrap_or(&description.resource);
    collect(&mut rows, "", declared);
    if let Some(row) = &description.connector {
        let value = serde_json::to_value(row).unwrap_or_default();
        for (name, value) in value.as_object().into_iter().flatten() {
            if !matches!(name.as_str(), "kind" | "name") {
                collect(&mut rows, &format!("now.{name}"), value);
            }
        }
    }
    output::table(&["field", "value"], rows)
}

/// One row for each value that is no object or list.
fn collect(rows: &mut Vec<Vec<String>>, path: &str, value: &Value) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(rows, &below(name), value);
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                collect(rows, &below(&at.to_string()), value);
            }
        }
        Value::Null => rows.push(vec![path.to_owned(), String::new()]),
        Value::String(text) => rows.push(vec![path.to_owned(), text.clone()]),
        other => rows.push(vec![path.to_owned(), other.to_string()]),
    }
}
