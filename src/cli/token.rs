//! `quorate token`

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    client::{AdminClient, ApiCall},
    error::CliError,
    host::HostArgs,
    output::{self, OutputFormat},
};
use crate::admin::tokens::{
    CreateTokenRequest, NeverExpires, TokenCreated, TokenLife, TokenRevoked, TokensAnswer,
};

/// Where tokens are asked for.
pub(super) const PATH: &str = "/v1/security/tokens";

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    /// Make a token of an identity; it goes to stdout, this once
    Create {
        /// The identity
        #[arg(long, value_name = "NAME")]
        identity: String,
        #[command(flatten)]
        life: LifeArgs,
        #[command(flatten)]
        host: HostArgs,
    },
    /// List the tokens, without their secrets
    List {
        /// Of this identity alone
        #[arg(long, value_name = "NAME")]
        identity: Option<String>,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Revoke a token: nothing that it asks for is done any more
    Revoke {
        /// The id, which stands in the token
        id: String,
        #[command(flatten)]
        host: HostArgs,
    },
}

/// How long a token counts.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LifeArgs {
    /// For how long it counts: 90d, 12h, or `never` for one that does not expire
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = life)]
    ttl: TokenLife,
}

fn life(text: &str) -> Result<TokenLife, humantime::DurationError> {
    if text == "never" {
        return Ok(TokenLife::Word(NeverExpires::Never));
    }
    let time = humantime::parse_duration(text)?;
    Ok(TokenLife::Seconds(time.as_secs()))
}

/// Makes, lists or revokes tokens.
pub(super) async fn run(args: TokenArgs) -> Result<(), CliError> {
    match args.command {
        TokenCommand::Create {
            identity,
            life,
            host,
        } => {
            let client = host.client()?;
            create(&client, identity, &life, host.client.output).await
        }
        TokenCommand::List { identity, host } => {
            let client = host.client()?;
            let answer = list(&client, identity.as_deref()).await?;
            match host.client.output {
                OutputFormat::Json => output::json(&answer),
                OutputFormat::Table => table(answer),
            }
        }
        TokenCommand::Revoke { id, host } => revoke(&host.client()?, &id).await,
    }
}

/// Makes a token and prints it.
pub(super) async fn create(
    client: &AdminClient,
    identity: String,
    life: &LifeArgs,
    output: OutputFormat,
) -> Result<(), CliError> {
    let request = CreateTokenRequest {
        identity,
        ttl_s: Some(life.ttl),
    };
    let call = ApiCall::new(Method::POST, PATH).json(&request);
    let created: TokenCreated = client.send(call).await?.good()?.json()?;
    match output {
        OutputFormat::Json => output::json(&created)?,
        OutputFormat::Table => output::line(&created.token)?,
    }
    let until = created.expires_at.as_deref().unwrap_or("it is revoked");
    quorate_log::print_note(format_args!(
        "token {} of {}, which counts until {until}, is shown this once: keep it in a file that nobody else can read",
        created.id, created.identity
    ));
    Ok(())
}

/// Gets the tokens, of one identity or of all.
pub(super) async fn list(
    client: &AdminClient,
    identity: Option<&str>,
) -> Result<TokensAnswer, CliError> {
    let path = match identity {
        Some(name) => format!("{PATH}?identity={}", encoded(name)),
        None => PATH.to_owned(),
    };
    client.get_json(path).await
}

fn table(answer: TokensAnswer) -> Result<(), CliError> {
    let rows = answer.tokens.into_iter().map(|it| {
        let state = if it.expired { "expired" } else { "live" };
        let expires_at = it.expires_at.unwrap_or_else(|| "never".into());
        vec![it.id, it.identity, state.into(), it.created_at, expires_at]
    });
    output::table(&["id", "identity", "state", "created", "expires"], rows)
}

/// Revokes one token.
pub(super) async fn revoke(client: &AdminClient, id: &str) -> Result<(), CliError> {
    let call = ApiCall::new(Method::DELETE, format!("{PATH}/{}", encoded(id)));
    let revoked: TokenRevoked = client.send(call).await?.good()?.json()?;
    output::line(format!("token {} is revoked", revoked.id))
}

/// Encodes one part of a URL.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_is_a_time_or_never() {
        assert_eq!(life("90d"), Ok(TokenLife::Seconds(90 * 24 * 3600)));
        assert_eq!(life("never"), Ok(TokenLife::Word(NeverExpires::Never)));
        assert!(life("soon").is_err());
    }
}
