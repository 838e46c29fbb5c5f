//! `quorate connector drain`: pauses a connector and waits until it has finished.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{One, operate};
use crate::{
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
        let row = one.row(&client).await?;
        let busy = row
            .filter(|row| row.status.state != ConnectorState::Paused || row.status.pid.is_some());
        let Some(row) = busy else {
            return output::line(format!(
                "{}/{} is paused; nothing is in flight",
                one.kind, one.name
            ));
        };
        if Instant::now() >= deadline {
            return Err(Failure::Refused(format!(
                "{}/{} is paused, but {} messages are still in flight after {} s; --timeout says how long to wait",
                one.kind, one.name, row.status.counts.in_flight, one.client.timeout
            )));
        }
        sleep(LOOK).await;
    }
}
