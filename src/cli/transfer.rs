//! `quorate transfer-leadership`

use http::Method;
use serde_json::json;

use super::{
    client::{Call, Client, ClientArgs},
    failure::Failure,
    output::{self, Output},
};
use crate::admin::answers::LeaderAnswer;

/// The options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The member that is to lead, by name; the best placed voter otherwise
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Hands leadership over.
pub async fn run(args: Args) -> Result<(), Failure> {
    let body = match &args.to {
        Some(name) => json!({ "to": name }),
        None => json!({}),
    };
    let call = Call::new(Method::POST, "/v1/cluster/transfer-leadership").json(&body);
    let answer: LeaderAnswer = Client::new(&args.client)?
        .send(call)
        .await?
        .good()?
        .json()?;
    match args.client.output {
        Output::Json => output::json(&answer),
        Output::Table => output::line(format!(
            "{} leads in term {}",
            answer.leader.name, answer.term
        )),
    }
}
