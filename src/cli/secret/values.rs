//! `quorate secret set`, `list` and `delete`. A value comes from a file or from stdin, and never
//! from an argument: other users of a host see those.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use http::{Method, StatusCode, header};
use quorate_resources::Kind;
use serde_json::Value;
use zeroize::Zeroizing;

use super::super::{
    client::{AdminClient, ApiCall, ClientArgs, get_and_print},
    error::CliError,
    get, output,
};
use crate::admin::config::ResourcesAnswer;

/// The longest value, with what may be around it.
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// The options of `set`.
#[derive(Debug, clap::Args)]
pub(super) struct SecretSetArgs {
    /// The name
    name: String,
    /// File with the value; `-`, which is the default, is stdin. One line end at its end is left out
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// What it is for; as it is when left out
    #[arg(long)]
    description: Option<String>,
    /// Where it may be sent to, such as amqp://rabbit.example.com:5672, several times for several; as it is when left out
    #[arg(long, value_name = "TARGET")]
    allow: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// The options of `delete`.
#[derive(Debug, clap::Args)]
pub(super) struct SecretDeleteArgs {
    /// The name
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn set(args: SecretSetArgs) -> Result<(), CliError> {
    let client = AdminClient::new(&args.client)?;
    let path = get::path(Kind::Secret, &args.name);
    let present = client.send(ApiCall::new(Method::GET, path.clone())).await?;
    let (mut spec, precondition) = match present.status {
        StatusCode::NOT_FOUND => (Value::Object(Default::default()), None),
        _ => {
            let present = present.good()?;
            (present.json()?, present.revision())
        }
    };
    let value = read_value(&args.file)?;
    spec["value"] = value.as_str().into();
    if let Some(description) = args.description {
        spec["description"] = description.into();
    }
    if !args.allow.is_empty() {
        spec["allowed_targets"] = args.allow.into();
    }
    let put = ApiCall::new(Method::PUT, path).json(&spec);
    let put = match precondition {
        Some(revision) => put.header(header::IF_MATCH, &format!("\"{revision}\""))?,
        None => put.header(header::IF_NONE_MATCH, "*")?,
    };
    let written: Value = client.send(put).await?.good()?.json()?;
    let how = match (written["created"].as_bool(), written["changed"].as_bool()) {
        (Some(true), _) => "created",
        (_, Some(true)) => "changed",
        _ => "unchanged",
    };
    quorate_log::print_note(format_args!("secret/{} {how}", args.name));
    Ok(())
}

/// Reads a value, without the line end that editors and `echo` leave.
fn read_value(file: &Path) -> Result<Zeroizing<String>, CliError> {
    let failed =
        |error: io::Error| CliError::Refused(format!("{}: can't be read: {error}", file.display()));
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if file == Path::new("-") {
        io::stdin().take(VALUE_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        let open = std::fs::File::open(file);
        open.and_then(|it| it.take(VALUE_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.map_err(failed)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| CliError::Refused(format!("{}: the value must be text", file.display())))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(Zeroizing::new(text.to_owned()))
}

pub(super) async fn list(args: ClientArgs) -> Result<(), CliError> {
    let table = |answer: &ResourcesAnswer| {
        let rows = answer.resources.iter().map(|it| {
            let text = |field: &str| it.resource[field].as_str().unwrap_or_default().to_owned();
            let targets = it.resource["allowed_targets"].as_array();
            let targets = targets.into_iter().flatten().filter_map(Value::as_str);
            let targets: Vec<&str> = targets.collect();
            vec![
                it.name.clone(),
                text("description"),
                targets.join(","),
                it.revision.to_string(),
            ]
        });
        output::table(
            &["name", "description", "allowed_targets", "revision"],
            rows,
        )
    };
    get_and_print(&args, "/v1/config/secret", table)
        .await
        .map(drop)
}

pub(super) async fn delete(args: SecretDeleteArgs) -> Result<(), CliError> {
    let path = get::path(Kind::Secret, &args.name);
    let call = ApiCall::new(Method::DELETE, path);
    AdminClient::new(&args.client)?.send(call).await?.good()?;
    quorate_log::print_note(format_args!("secret/{} deleted", args.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("value");
        for (written, value) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            ("two\nlines\n\n", "two\nlines\n"),
            ("", ""),
        ] {
            std::fs::write(&file, written).unwrap();
            assert_eq!(*read_value(&file).unwrap(), value);
        }
        std::fs::write(&file, [0xff]).unwrap();
        assert!(read_value(&file).is_err());
    }
}
