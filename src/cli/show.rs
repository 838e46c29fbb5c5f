//! What every command does that only asks: one GET, printed in the form that was wanted.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    client::{Client, ClientArgs},
    failure::Failure,
    output::{self, Output},
};

/// Asks for `path` and prints the answer, as JSON as it came, or with `table`. Gives it to
/// the caller, who may have more to say on stderr.
pub async fn show<T: Serialize + DeserializeOwned>(
    args: &ClientArgs,
    path: &str,
    table: impl FnOnce(&T) -> Result<(), Failure>,
) -> Result<T, Failure> {
    let answer: T = Client::new(args)?.get_json(path).await?;
    match args.output {
        Output::Json => output::json(&answer)?,
        Output::Table => table(&answer)?,
    }
    Ok(answer)
}
