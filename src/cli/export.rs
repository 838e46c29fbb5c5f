//! `quorate export`

use quorate_resources::{Kind, Resource};
use serde_json::Value;

use super::{
    client::{AdminClient, ClientArgs},
    error::CliError,
    output::{self, OutputFormat},
};
use crate::{admin::config::ResourcesAnswer, manifest};

/// Prints every resource, in an order in which they can be created again.
pub(super) async fn run(args: ClientArgs) -> Result<(), CliError> {
    let listing: ResourcesAnswer = AdminClient::new(&args)?.get_json("/v1/config").await?;
    let secrets = listing
        .resources
        .iter()
        .filter(|it| Resource::read(it.kind, &it.resource).is_ok_and(|it| it.takes_a_secret()))
        .count();
    let listing_left_out = listing.left_out.clone();
    match args.output {
        OutputFormat::Json => {
            let documents = listing
                .resources
                .into_iter()
                .map(|it| with_kind(it.kind, it.resource));
            output::json(&documents.collect::<Vec<_>>())?;
        }
        OutputFormat::Table => {
            let text = manifest::export(
                listing
                    .resources
                    .into_iter()
                    .map(|it| (it.kind, it.resource)),
            );
            output::bytes(text.as_bytes())?;
        }
    }
    if !listing_left_out.is_empty() {
        let kinds: Vec<&str> = listing_left_out.iter().map(|it| it.as_str()).collect();
        quorate_log::print_note(format_args!(
            "left out, since you may not read them: {}",
            kinds.join(", ")
        ));
    }
    if secrets > 0 {
        quorate_log::print_note(format_args!(
            "{secrets} of these have a secret, which is never shown. Applied to this cluster they keep it; for another one add it"
        ));
    }
    Ok(())
}

fn with_kind(kind: Kind, mut resource: Value) -> Value {
    if let Some(fields) = resource.as_object_mut() {
        fields.insert("kind".into(), kind.as_str().into());
    }
    resource
}
