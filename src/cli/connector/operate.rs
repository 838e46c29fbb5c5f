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
pub async fn run(one: ConnectorTarget, order: &str) -> Result<(), CliError> {
    let told = ordered(&one, order).await?;
    match one.client.output {
        OutputFormat::Json => output::json(&told),
        OutputFormat::Table => output::line(describe_operated(&told, order)),
    }
}

/// Gives an order; what stands after it.
pub async fn ordered(one: &ConnectorTarget, order: &str) -> Result<OperateAnswer, CliError> {
    let path = format!("/v1/connectors/{}/{order}", one.path());
    let answer = AdminClient::new(&one.client)?
        .send(ApiCall::new(Method::POST, path))
        .await?;
    answer.good()?.json()
}

fn describe_operated(told: &OperateAnswer, order: &str) -> String {
    let OperateAnswer {
        kind,
        name,
        changed,
        ..
    } = told;
    match (order, changed) {
        ("pause", true) => format!("{kind}/{name} is paused"),
        ("pause", false) => format!("{kind}/{name} was paused already"),
        ("resume", true) => format!("{kind}/{name} is resumed"),
        ("resume", false) => format!("{kind}/{name} was not paused"),
        _ => format!("{kind}/{name} is being restarted"),
    }
}
