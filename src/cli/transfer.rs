//! `quorate transfer-leadership`

use http::Method;
use serde_json::json;

use super::{
    client::{AdminClient, ApiCall, ClientArgs},
    error::CliError,
    output::{self, OutputFormat},
};
use crate::admin::cluster_answers::LeaderAnswer;

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct TransferArgs {
    /// The member that is to lead, by name; the best placed voter otherwise
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Hands leadership over.
pub(super) async fn run(args: TransferArgs) -> Result<(), CliError> {
    let body = match &args.to {
        Some(name) => json!({ "to": name }),
        None => json!({}),
    };
    let call = ApiCall::new(Method::POST, "/v1/cluster/transfer-leadership").json(&body);
    let answer: LeaderAnswer = AdminClient::new(&args.client)?
        .send(call)
        .await?
        .good()?
        .json()?;
    match args.client.output {
        OutputFormat::Json => output::json(&answer),
        OutputFormat::Table => output::line(format!(
            "{} leads in term {}",
            answer.leader.name, answer.term
        )),
    }
}
