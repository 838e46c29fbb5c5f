//! `quorate admin`: the administrators of a cluster.
//!
//! They are identities with the role `admin`. The first one is made at a member's local socket.

use http::{Method, StatusCode, header::IF_NONE_MATCH};
use quorate_resources::{Kind, Resource};
use serde_json::json;

use super::{
    client::{AdminClient, ApiCall},
    error::CliError,
    host::HostArgs,
    output::{self, OutputFormat},
    token::{self, LifeArgs, encoded},
};
use crate::admin::config::ResourcesAnswer;

/// Where identities are asked for.
const IDENTITIES: &str = "/v1/config/identity";
const ROLE: &str = "admin";

/// The options.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AdminCommand {
    /// Make an identity with a role, and a token of it; the token goes to stdout, this once
    Create {
        /// The name of the identity
        #[arg(long)]
        name: String,
        /// Its role: admin, operator, editor, reader, caller, sender, metrics, or one of your own
        #[arg(long, default_value = ROLE)]
        role: String,
        #[command(flatten)]
        life: LifeArgs,
        #[command(flatten)]
        host: HostArgs,
    },
    /// List the identities, their roles and how many tokens they have
    List(HostArgs),
    /// Delete an identity and its tokens
    Revoke {
        /// The name of the identity
        name: String,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Revoke the tokens of all administrators; the local socket stays
    RevokeAll(HostArgs),
}

/// Makes, lists or revokes administrators.
pub(super) async fn run(args: AdminArgs) -> Result<(), CliError> {
    match args.command {
        AdminCommand::Create {
            name,
            role,
            life,
            host,
        } => create(name, &role, &life, &host).await,
        AdminCommand::List(host) => list(&host).await,
        AdminCommand::Revoke { name, host } => {
            let path = format!("{IDENTITIES}/{}", encoded(&name));
            let call = ApiCall::new(Method::DELETE, path);
            host.client()?.send(call).await?.good()?;
            output::line(format!("identity {name} and its tokens are deleted"))
        }
        AdminCommand::RevokeAll(host) => revoke_all(&host.client()?).await,
    }
}

async fn create(
    name: String,
    role: &str,
    life: &LifeArgs,
    host: &HostArgs,
) -> Result<(), CliError> {
    let client = host.client()?;
    let call = ApiCall::new(Method::PUT, format!("{IDENTITIES}/{}", encoded(&name)))
        .json(&json!({"name": name, "roles": [role]}))
        .header(IF_NONE_MATCH, "*")?;
    let answer = client.send(call).await?;
    if answer.status == StatusCode::PRECONDITION_FAILED {
        return Err(CliError::Refused(format!(
            "there is an identity {name} already; another token of it: quorate token create --identity {name}"
        )));
    }
    answer.good()?;
    let made = token::create(&client, name.clone(), life, host.client.output).await;
    if made.is_err() {
        quorate_log::print_note(format_args!(
            "identity {name} is there, and may have no token: quorate token create --identity {name}"
        ));
    }
    made
}

/// An identity, and the ids of its tokens that count.
struct IdentityTokens {
    name: String,
    roles: Vec<String>,
    disabled: bool,
    tokens: Vec<String>,
}

async fn identities(client: &AdminClient) -> Result<Vec<IdentityTokens>, CliError> {
    let listed: ResourcesAnswer = client.get_json(IDENTITIES).await?;
    let tokens = token::list(client, None).await?.tokens;
    let of = |name: &str| {
        let own = tokens
            .iter()
            .filter(|it| it.identity == name && !it.expired);
        own.map(|it| it.id.clone()).collect()
    };
    let parsed = listed.resources.into_iter().filter_map(|row| {
        match Resource::parse(Kind::Identity, &row.resource) {
            Ok(Resource::Identity(it)) => Some(it),
            _ => None,
        }
    });
    let rows = parsed.map(|it| IdentityTokens {
        tokens: of(&it.name),
        name: it.name.clone(),
        roles: it.roles.clone(),
        disabled: it.disabled,
    });
    Ok(rows.collect())
}

async fn list(host: &HostArgs) -> Result<(), CliError> {
    let identities = identities(&host.client()?).await?;
    if host.client.output == OutputFormat::Json {
        let rows = identities.iter().map(|it| {
            json!({"name": it.name, "roles": it.roles, "disabled": it.disabled, "tokens": it.tokens})
        });
        return output::json(&rows.collect::<Vec<_>>());
    }
    let rows = identities.into_iter().map(|it| {
        let state = if it.disabled { "disabled" } else { "active" };
        vec![
            it.name,
            it.roles.join(","),
            state.into(),
            it.tokens.join(","),
        ]
    });
    output::table(&["name", "roles", "state", "tokens"], rows)
}

async fn revoke_all(client: &AdminClient) -> Result<(), CliError> {
    let admins = identities(client).await?.into_iter();
    for it in admins.filter(|it| it.roles.iter().any(|role| role == ROLE)) {
        for id in &it.tokens {
            token::revoke(client, id).await?;
        }
    }
    Ok(())
}
