//! What every command does that only asks: one GET, printed in the form that was wanted.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    client::{AdminClient, ClientArgs},
    error::CliError,
    output::{self, OutputFormat},
};

/// Asks for `path` and prints the answer, as JSON as it came, or with `table`. Gives it to
/// the caller, who may have more to say on stderr.
pub async fn get_and_print<T: Serialize + DeserializeOwned>(
    args: &ClientArgs,
    path: &str,
    table: impl FnOnce(&T) -> Result<(), CliError>,
) -> Result<T, CliError> {
    let answer: T = AdminClient::new(args)?.get_json(path).await?;
    match args.output {
        OutputFormat::Json => output::json(&answer)?,
        OutputFormat::Table => table(&answer)?,
    }
    Ok(answer)
}
