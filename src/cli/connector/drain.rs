//! `quorate connector drain`: pauses a connector and waits until it has finished.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{One, operate};
use crate::{
    admin::standbys::ConnectorRow,
    cli::{client::Client, failure::Failure, output},
    connector::ConnectorState,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Pauses it, and returns once its process is gone: then nothing is in flight.
pub async fn run(one: One) -> Result<(), Failure> {
    operate::ordered(&one, "pause").await?;
    let client = Client::new(&one.client)?;
    let deadline = Instant::now() + Duration::from_secs(one.client.timeout);
    loop {
        // Unreachable for a moment, or not there yet, in a takeover: then the next look tells.
        let row = one.row(&client).await.ok().flatten();
        let done = |row: &ConnectorRow| {
            row.status.state == ConnectorState::Paused && row.status.pid.is_none()
        };
        if row.as_ref().is_some_and(done) {
            return output::line(format!(
                "{}/{} is paused; nothing is in flight",
                one.kind, one.name
            ));
        }
        if Instant::now() >= deadline {
            let left = match row {
                Some(row) => format!(
                    "{} messages are still in flight",
                    row.status.counts.in_flight
                ),
                None => "the connector server does not tell what is in flight".into(),
            };
            return Err(Failure::Refused(format!(
                "{}/{} is paused, but {left} after {} s; --timeout says how long to wait",
                one.kind, one.name, one.client.timeout
            )));
        }
        sleep(LOOK).await;
    }
}
