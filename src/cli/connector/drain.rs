//! `quorate connector drain`: pauses a connector and waits until it has finished.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_supervisor::ConnectorState;
use tokio::time::sleep;

use super::{ConnectorTarget, operate};
use crate::cli::{
    client::AdminClient,
    error::CliError,
    output::{self, OutputFormat},
};

/// The pause between two checks.
const LOOK: Duration = Duration::from_millis(100);

/// Pauses the connector, and returns once its process is gone: then nothing is in flight.
pub(super) async fn run(one: ConnectorTarget) -> Result<(), CliError> {
    let answer = operate::ordered(&one, "pause").await?;
    let client = AdminClient::new(&one.client)?;
    let deadline = Instant::now() + Duration::from_secs(one.client.timeout);
    loop {
        // In a takeover no member may answer for a moment: the next check decides.
        let row = one.row(&client).await.ok().flatten();
        // None: a connector server that has just taken over does not show it yet.
        let done = row.as_ref().is_some_and(|row| {
            row.status.state == ConnectorState::Paused && row.status.pid.is_none()
        });
        if done {
            return match one.client.output {
                OutputFormat::Json => output::json(&answer),
                OutputFormat::Table => output::line(format!(
                    "{}/{} is paused; nothing is in flight",
                    one.kind, one.name
                )),
            };
        }
        if Instant::now() >= deadline {
            let left = row.map(|row| row.status.counts.in_flight);
            let left = left.map_or_else(|| "unknown".to_owned(), |left| left.to_string());
            return Err(CliError::Refused(format!(
                "{}/{} is paused, but its process is not gone after {} s (messages in flight: {left}); it goes on to finish them; --timeout says how long to wait",
                one.kind, one.name, one.client.timeout
            )));
        }
        sleep(LOOK).await;
    }
}
