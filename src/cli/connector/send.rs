//! `quorate connector send`

use std::io::Read;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, Method};

use super::ConnectorTarget;
use crate::{
    admin::outgoing::outcome::SentAnswer,
    cli::{
        argument_error::CliArgumentError,
        client::{AdminClient, ApiCall},
        error::CliError,
        output::{self, OutputFormat},
    },
};

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct SendArgs {
    #[command(flatten)]
    one: ConnectorTarget,
    /// The message; `-` reads it from standard input
    body: String,
    /// Its content type
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Its id; one is made up otherwise
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// A header of its own
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// What the protocol says of it, such as routing-key=invoices
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = pair)]
    properties: Vec<(String, String)>,
    /// The same key within ten minutes gives the first outcome and sends nothing again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), CliArgumentError> {
    let (name, value) = text.split_once('=').ok_or(CliArgumentError::NameAndValue)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Sends a message and prints its outcome.
pub(super) async fn run(args: SendArgs) -> Result<(), CliError> {
    let SendArgs {
        one,
        body,
        content_type,
        message_id,
        headers,
        properties,
        idempotency_key,
    } = args;
    let body = match body.as_str() {
        "-" => standard_input()?,
        text => text.as_bytes().to_vec(),
    };
    let path = format!("/v1/outgoing/{}/send", one.path());
    let mut call = ApiCall::new(Method::POST, path).raw(body);
    let within = (one.client.timeout * 1000)
        .saturating_sub(500)
        .clamp(1, 20_000);
    let mut pairs = vec![
        ("quorate-within-ms".to_owned(), within.to_string()),
        (
            "content-type".to_owned(),
            content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
        ),
    ];
    pairs.extend(message_id.map(|id| ("quorate-message-id".to_owned(), id)));
    pairs.extend(idempotency_key.map(|key| ("quorate-idempotency-key".to_owned(), key)));
    pairs.extend(
        headers
            .into_iter()
            .map(|(name, value)| (format!("quorate-header-{name}"), value)),
    );
    pairs.extend(
        properties
            .into_iter()
            .map(|(name, value)| (format!("quorate-property-{name}"), value)),
    );
    for (name, value) in pairs {
        let header = HeaderName::try_from(&name)
            .map_err(|_| CliError::Usage(format!("{name:?} can't be the name of a header")))?;
        call = call.header(header, &value)?;
    }
    let answer: SentAnswer = AdminClient::new(&one.client)?
        .send(call)
        .await?
        .good()?
        .json()?;
    match one.client.output {
        OutputFormat::Json => output::json(&answer),
        OutputFormat::Table => {
            output::line(format!("confirmed: {}", answer.message_id))?;
            let Some(reply) = answer.reply else {
                return Ok(());
            };
            let body = STANDARD.decode(reply.body_base64).unwrap_or_default();
            output::bytes(&body)?;
            output::line("")
        }
    }
}

fn standard_input() -> Result<Vec<u8>, CliError> {
    let mut body = Vec::new();
    std::io::stdin()
        .read_to_end(&mut body)
        .map_err(|error| CliError::Refused(format!("can't read standard input: {error}")))?;
    Ok(body)
}
