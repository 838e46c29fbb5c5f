//! The messages of a quickstart for its user.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use super::{
    certificates::QuickstartCertificates,
    ending,
    folder::{QuickstartBalancer, QuickstartFolder, QuickstartMember},
    process_spec::ProcessSpec,
};
use crate::{
    admin::cluster_answers::LeaderAnswer,
    cli::{
        client::{AdminClient, ClientTlsArgs, urls},
        error::CliError,
        output::quoted,
    },
};

/// The resources that the checkout has for a first try.
const EXAMPLE: &str = "examples/orders.yaml";

/// Reports that everything works, with the addresses and the next steps.
pub(super) async fn ready(folder: &QuickstartFolder, took: Duration) -> Result<String, CliError> {
    let admins = folder.admin_urls(None);
    let parsed = urls::parse(&admins.join(","));
    let parsed = parsed.map_err(|error| CliError::Refused(error.to_string()))?;
    let certificates = folder.certificates.as_ref();
    let tls = certificates.map(QuickstartCertificates::client);
    let tls = tls.unwrap_or_default();
    let leader: LeaderAnswer = AdminClient::with_tls(parsed.0, Duration::from_secs(5), &tls)?
        .get_json("/v1/cluster/leader")
        .await?;
    Ok(block(folder, &leader.leader.name, &admins, took))
}

pub(super) fn block(
    folder: &QuickstartFolder,
    leader: &str,
    admins: &[String],
    took: Duration,
) -> String {
    let count = folder.members.len();
    let mut text = format!(
        "ready after {:.1} s: {count} members, led by {leader}\n\n",
        took.as_secs_f64()
    );
    if let Some(QuickstartBalancer { bind, config, .. }) = &folder.balancer {
        let haproxy = config.with_file_name("haproxy.cfg");
        text += &format!(
            "  balancer  http://{bind}  statistics http://{bind}/zato-lb-stats  {}\n",
            short(&haproxy)
        );
    }
    for member in &folder.members {
        let QuickstartMember {
            name,
            settings,
            log,
            ..
        } = member;
        let (http, admin) = (&settings.http.advertise, member.admin_url());
        text += &format!(
            "  {name}  http://{http}  admin {admin}  log {}\n",
            short(log)
        );
    }
    let entry = match &folder.balancer {
        Some(balancer) => balancer.bind.to_string(),
        None => folder.members[0].settings.http.advertise.clone(),
    };
    let pid = folder
        .members
        .iter()
        .find(|member| member.name == leader)
        .unwrap_or(&folder.members[0]);
    let quorate = program();
    text += "\nTry, in another terminal:\n";
    if admins.join(",") != urls::DEFAULT {
        text += &format!("  export QUORATE_ADMIN={}\n", admins.join(","));
    }
    text += &environment(folder);
    text += &format!("  curl -i http://{entry}/zato/ping\n");
    text += &format!("  {quorate} status\n");
    if Path::new(EXAMPLE).is_file() {
        text += &format!("  {quorate} apply -f {EXAMPLE}\n");
    }
    text += &format!(
        "  kill -9 $(cat {})    # the leader; another takes over\n",
        short(&pid.settings.pid_file)
    );
    text += "\nCtrl-C stops everything; the same command goes on from there.\n";
    text
}

/// Writes what commands and curl need behind TLS.
fn environment(folder: &QuickstartFolder) -> String {
    let Some(certificates) = &folder.certificates else {
        return String::new();
    };
    let ClientTlsArgs { ca, cert, key } = certificates.client();
    let path = |path: &Option<PathBuf>| path.as_deref().map(short).unwrap_or_default();
    let (ca, cert, key) = (path(&ca), path(&cert), path(&key));
    let url = folder.members[0].admin_url();
    format!(
        "  export QUORATE_CA={ca} QUORATE_CERT={cert} QUORATE_KEY={key}\n  \
         curl --cacert {ca} --cert {cert} --key {key} {url}/v1/cluster/members\n"
    )
}

/// Reports the end of a process.
pub(super) fn death(place: &ProcessSpec, status: Option<ExitStatus>) -> String {
    let (who, how, quorate) = (&place.name, ending(status), program());
    let (subcommand, config) = (place.subcommand, short(&place.config));
    format!("{who} {how}; start it again with\n  {quorate} {subcommand} --config {config}")
}

/// Returns a path as one would type it here.
fn short(path: &Path) -> String {
    quoted(&relative(path).to_string_lossy())
}

/// Returns a path relative to the current folder, where it is below.
fn relative(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).to_owned()
}

/// Returns this program as one would call it here.
fn program() -> String {
    let Ok(this) = std::env::current_exe() else {
        return "quorate".into();
    };
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&paths)
        .map(|folder| folder.join("quorate"))
        .find(|file| file.is_file());
    match first.and_then(|file| file.canonicalize().ok()) {
        Some(file) if Ok(&file) == this.canonicalize().as_ref().map_err(|_| ()) => "quorate".into(),
        // A bare name would be looked for on the PATH.
        _ => match relative(&this).to_string_lossy() {
            name if !name.contains('/') => quoted(&format!("./{name}")),
            path => quoted(&path),
        },
    }
}
