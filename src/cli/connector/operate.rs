//! `quorate connector pause|resume|restart`

use http::Method;

use super::ConnectorTarget;
use crate::{
    admin::operate::OperateAnswer,
    cli::{
        client::{AdminClient, ApiCall},
        error::CliError,
        output::{self, OutputFormat},
    },
};

/// Gives an order.
pub(super) async fn run(one: ConnectorTarget, action: &str) -> Result<(), CliError> {
    let answer = ordered(&one, action).await?;
    match one.client.output {
        OutputFormat::Json => output::json(&answer),
        OutputFormat::Table => output::line(describe_operated(&answer, action)),
    }
}

/// Gives an order; returns the connector after it.
pub(super) async fn ordered(
    one: &ConnectorTarget,
    action: &str,
) -> Result<OperateAnswer, CliError> {
    let path = format!("/v1/connectors/{}/{action}", one.path());
    let answer = AdminClient::new(&one.client)?
        .send(ApiCall::new(Method::POST, path))
        .await?;
    answer.good()?.json()
}

fn describe_operated(answer: &OperateAnswer, action: &str) -> String {
    let OperateAnswer {
        kind,
        name,
        changed,
        ..
    } = answer;
    match (action, changed) {
        ("pause", true) => format!("{kind}/{name} is paused"),
        ("pause", false) => format!("{kind}/{name} was paused already"),
        ("resume", true) => format!("{kind}/{name} is resumed"),
        ("resume", false) => format!("{kind}/{name} was not paused"),
        _ => format!("{kind}/{name} is being restarted"),
    }
}
