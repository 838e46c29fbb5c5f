//! `quorate export`

use serde_json::{Map, Value};
use serde_norway::Mapping;

use super::{
    client::{Client, ClientArgs},
    failure::Failure,
    output::{self, Output},
};
use crate::{admin::config::Listing, state::resource::Kind};

/// The options.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints every resource, in an order in which they can be created again.
pub async fn run(args: Args) -> Result<(), Failure> {
    let listing: Listing = Client::new(&args.client)?.get_json("/v1/config").await?;
    let secrets = listing.resources.iter().filter(|it| it.kind.secret_field().is_some()).count();
    match args.client.output {
        Output::Json => {
            let documents: Vec<Value> = listing.resources.iter().map(|it| with_kind(it.kind, &it.resource)).collect();
            output::json(&documents)?;
        }
        Output::Table => {
            let documents = listing.resources.iter().map(|it| document(it.kind, &it.resource));
            output::bytes(documents.collect::<Result<Vec<_>, _>>()?.join("---\n").as_bytes())?;
        }
    }
    if secrets > 0 {
        eprintln!(
            "{secrets} of these have a secret, which is never shown. Applied to this cluster they keep it; for another one add it"
        );
    }
    Ok(())
}

/// One resource as a YAML document that `apply` takes, kind and name first.
pub fn document(kind: Kind, resource: &Value) -> Result<String, Failure> {
    let told = |error| Failure::Refused(format!("can't write YAML: {error}"));
    let mut fields = Mapping::new();
    for (field, value) in std::iter::once(("kind", &kind.as_str().into())).chain(written(resource)) {
        fields.insert(field.into(), serde_norway::to_value(value).map_err(told)?);
    }
    serde_norway::to_string(&fields).map_err(told)
}

fn with_kind(kind: Kind, resource: &Value) -> Value {
    let mut fields: Map<String, Value> =
        written(resource).map(|(field, value)| (field.to_owned(), value.clone())).collect();
    fields.insert("kind".into(), kind.as_str().into());
    Value::Object(fields)
}

/// The fields, the name first. Absent and null mean the same; the shorter form is read
/// more easily.
fn written(resource: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let own = resource.as_object().into_iter().flatten();
    let own = own.map(|(field, value)| (field.as_str(), value)).filter(|(_, value)| !value.is_null());
    let (name, rest): (Vec<_>, Vec<_>) = own.partition(|(field, _)| *field == "name");
    name.into_iter().chain(rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_begins_with_its_kind_and_name() {
        let text = document(Kind::ApiKey, &json!({ "name": "k", "header": "X-API-Key", "key": null })).unwrap();
        assert!(text.starts_with("kind: api_key\nname: k\n"), "{text}");
        assert!(!text.contains("null"), "{text}");
    }
}
