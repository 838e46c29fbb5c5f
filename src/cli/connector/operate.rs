//! `quorate connector pause|resume|restart`

use http::Method;

use super::One;
use crate::{
    admin::operate::Operated,
    cli::{
        client::{Call, Client},
        failure::Failure,
        output::{self, Output},
    },
};

/// Gives an order.
pub async fn run(one: One, order: &str) -> Result<(), Failure> {
    let told = ordered(&one, order).await?;
    match one.client.output {
        Output::Json => output::json(&told),
        Output::Table => output::line(told_of(&told, order)),
    }
}

/// Gives an order; what stands after it.
pub async fn ordered(one: &One, order: &str) -> Result<Operated, Failure> {
    let path = format!("/v1/connectors/{}/{order}", one.path());
    let answer = Client::new(&one.client)?
        .send(Call::new(Method::POST, path))
        .await?;
    answer.good()?.json()
}

fn told_of(told: &Operated, order: &str) -> String {
    let Operated {
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
