//! One GET, printed in the wanted form: the whole of every command that only asks.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    client::{AdminClient, ClientArgs},
    error::CliError,
    output::{self, OutputFormat},
};

/// Gets `path` and prints the answer, as JSON as it came, or with `table`. Returns the answer to
/// the caller, which may have more to print on stderr.
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
