//! `quorate delete`

use http::Method;
use quorate_resources::Kind;

use super::{
    client::{AdminClient, ApiCall, ClientArgs},
    error::CliError,
    get,
};

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// The kind, for example http_channel
    kind: Kind,
    /// The name
    name: String,
    /// Only if it has this revision
    #[arg(long, value_name = "REV")]
    if_match: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Deletes a resource.
pub(super) async fn run(args: DeleteArgs) -> Result<(), CliError> {
    let mut call = ApiCall::new(Method::DELETE, get::path(args.kind, &args.name));
    if let Some(revision) = args.if_match {
        call = call.header(http::header::IF_MATCH, &format!("\"{revision}\""))?;
    }
    let shown = format!("{}/{}", args.kind, args.name);
    AdminClient::new(&args.client)?.send(call).await?.good()?;
    quorate_log::print_note(format_args!("{shown} deleted"));
    Ok(())
}
