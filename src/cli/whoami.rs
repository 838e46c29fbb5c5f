//! `quorate whoami`

use super::{
    error::CliError,
    host::HostArgs,
    output::{self, OutputFormat},
};
use crate::admin::whoami::WhoamiAnswer;

/// Shows as whom the cluster knows the caller.
pub(super) async fn run(args: HostArgs) -> Result<(), CliError> {
    let client = args.client()?;
    let it: WhoamiAnswer = client.get_json("/v1/security/whoami").await?;
    if args.client.output == OutputFormat::Json {
        return output::json(&it);
    }
    let via = serde_json::to_value(it.via).unwrap_or_default();
    let via = via.as_str().unwrap_or_default().to_owned();
    let expires_at = it.expires_at.unwrap_or_default();
    let row = vec![it.name, via, it.roles.join(","), expires_at];
    output::table(&["name", "via", "roles", "expires"], [row])
}
