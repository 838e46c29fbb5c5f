//! `quorate get`

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quorate_resources::Kind;
use serde_json::Value;

use super::{
    client::{AdminClient, ClientArgs},
    error::CliError,
    output::{self, OutputFormat},
};
use crate::{admin::config::ResourcesAnswer, manifest};

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// The kind, for example http_channel
    kind: Kind,
    /// The name; all of the kind otherwise
    name: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows resources.
pub(super) async fn run(args: GetArgs) -> Result<(), CliError> {
    let client = AdminClient::new(&args.client)?;
    match &args.name {
        Some(name) => one(&client, args.kind, name, args.client.output).await,
        None => all(&client, args.kind, args.client.output).await,
    }
}

async fn one(
    client: &AdminClient,
    kind: Kind,
    name: &str,
    output: OutputFormat,
) -> Result<(), CliError> {
    let resource: Value = client.get_json(path(kind, name)).await?;
    match output {
        OutputFormat::Json => output::json(&resource),
        OutputFormat::Table => output::bytes(manifest::export([(kind, resource)]).as_bytes()),
    }
}

async fn all(client: &AdminClient, kind: Kind, output: OutputFormat) -> Result<(), CliError> {
    let listing: ResourcesAnswer = client.get_json(format!("/v1/config/{kind}")).await?;
    if output == OutputFormat::Json {
        return output::json(&listing);
    }
    let columns = columns(kind);
    let header: Vec<&str> = ["name"]
        .iter()
        .chain(columns)
        .chain(&["revision"])
        .copied()
        .collect();
    let rows = listing.resources.iter().map(|it| {
        let fields = columns.iter().map(|column| shown(&it.resource[column]));
        std::iter::once(it.name.clone())
            .chain(fields)
            .chain([it.revision.to_string()])
            .collect()
    });
    output::table(&header, rows)
}

/// Returns the columns that tell resources of a kind apart at a glance; `get KIND NAME` shows the
/// rest.
fn columns(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Service => &["upstream", "builtin", "timeout_ms", "retries"],
        Kind::HttpChannel => &["path", "methods", "service", "security", "active"],
        Kind::AmqpConnection => &["host", "port", "vhost", "username"],
        Kind::AmqpChannel => &["connection", "queue", "service", "prefetch", "active"],
        Kind::AmqpOutgoing => &["connection", "exchange", "routing_key", "active"],
        Kind::IbmMqConnection => &["host", "port", "queue_manager", "channel", "username"],
        Kind::IbmMqChannel => &["connection", "queue", "service", "jms", "active"],
        Kind::IbmMqOutgoing => &["connection", "queue", "jms", "active"],
        Kind::ZmqChannel => &["address", "socket_type", "method", "service", "active"],
        Kind::ZmqOutgoing => &["address", "socket_type", "method", "active"],
        Kind::Secret => &["description", "allowed_targets"],
        Kind::BasicAuth => &["username"],
        Kind::ApiKey => &["header"],
        Kind::Jwt => &["issuer", "audience", "algorithms"],
        Kind::ClientCertificate => &["names"],
        Kind::Hmac => &["header", "timestamp_header"],
        Kind::AccessRole => &[],
        Kind::Identity => &["roles", "disabled"],
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Returns the path of a resource.
pub(super) fn path(kind: Kind, name: &str) -> String {
    format!(
        "/v1/config/{kind}/{}",
        utf8_percent_encode(name, NON_ALPHANUMERIC)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_fit_in_a_cell() {
        assert_eq!(shown(&json!(["GET", "POST"])), "GET,POST");
        assert_eq!(shown(&json!(null)), "");
        assert_eq!(shown(&json!(true)), "true");
        assert_eq!(path(Kind::Service, "a/b"), "/v1/config/service/a%2Fb");
    }
}
