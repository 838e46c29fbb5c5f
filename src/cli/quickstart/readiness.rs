//! The readiness of a quickstart: every member a voter that has caught up, the balancer answering.

use std::{collections::BTreeMap, time::Duration};

use quorate_clock::Instant;
use quorate_types::Role;
use tokio::time::sleep;
use url::Url;

use super::{
    certificates::QuickstartCertificates,
    process_fleet::{self, ProcessFleet},
};
use crate::{
    admin::cluster_answers::{MemberState, MembersAnswer},
    cli::{
        client::{AdminClient, ClientTlsArgs},
        error::CliError,
    },
};

/// The time for readiness: three members on a slow machine need a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
const ONE_ANSWER: Duration = Duration::from_secs(2);

/// The lag at which a member has caught up, whatever is being written.
const LAG_MAX: u64 = 100;

/// Waits for readiness; an end of a process meanwhile, or too long a wait, is an error that names
/// what is missing.
pub(super) async fn wait(fleet: &mut ProcessFleet) -> Result<(), CliError> {
    let deadline = Instant::now() + PATIENCE;
    let probes = ReadinessProbes::new(fleet)?;
    loop {
        let missing = tokio::select! {
            death = fleet.next_exit() => return Err(process_fleet::early_exit_error(death)),missing = probes.missing() => missing,
        };
        let Some(missing) = missing else {
            fleet.folder.remember(&probes.peers().await);
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(CliError::Unreachable(format!(
                "not ready after {} s: {missing}",
                PATIENCE.as_secs()
            )));
        }
        tokio::select! {
            death = fleet.next_exit() => return Err(process_fleet::early_exit_error(death)),() = sleep(LOOK) => {}
        }
    }
}

/// The addresses that have to answer.
struct ReadinessProbes {
    members: Vec<(String, AdminClient)>,
    balancer: Option<AdminClient>,
}

impl ReadinessProbes {
    fn new(fleet: &ProcessFleet) -> Result<ReadinessProbes, CliError> {
        let certificates = fleet.folder.certificates.as_ref();
        let tls = certificates.map(QuickstartCertificates::client);
        let members = fleet.folder.members.iter().map(|member| {
            Ok((
                member.name.clone(),
                client(&member.admin_url(), tls.as_ref())?,
            ))
        });
        let balancer = fleet
            .folder
            .balancer
            .as_ref()
            .map(|it| client(&format!("http://{}", it.bind), None))
            .transpose()?;
        Ok(ReadinessProbes {
            members: members.collect::<Result<_, CliError>>()?,
            balancer,
        })
    }

    /// Returns what is not yet as it should be; `None` when all is.
    async fn missing(&self) -> Option<String> {
        for (name, client) in &self.members {
            let ready = client.get("/health/ready").await;
            if let Err(failure) = ready {
                return Some(format!("{name} is not ready ({failure})"));
            }
            let answer = match client
                .get_json::<MembersAnswer>("/v1/cluster/members")
                .await
            {
                Ok(answer) => answer,
                Err(failure) => {
                    return Some(format!("{name} doesn't list the members ({failure})"));
                }
            };
            if let Some(missing) = self.incomplete(&answer) {
                return Some(format!("as {name} sees it, {missing}"));
            }
            if let Err(failure) = client.get("/v1/cluster/leader").await {
                return Some(format!("{name} does not know a leader ({failure})"));
            }
        }
        for path in ["/zato-lb-alive", "/zato/ping"] {
            if let Some(balancer) = &self.balancer
                && let Err(failure) = balancer.get(path).await
            {
                return Some(format!("the balancer does not answer {path} ({failure})"));
            }
        }
        None
    }

    /// Returns the addresses by which the cluster knows its members, by their names; none where no
    /// member answers.
    async fn peers(&self) -> BTreeMap<String, String> {
        for (_, client) in &self.members {
            let answer = client.get_json::<MembersAnswer>("/v1/cluster/members");
            if let Ok(answer) = answer.await {
                let rows = answer.members.into_iter();
                return rows.map(|row| (row.name, row.peer)).collect();
            }
        }
        BTreeMap::new()
    }

    fn incomplete(&self, answer: &MembersAnswer) -> Option<String> {
        self.members.iter().find_map(|(name, _)| {
            let Some(row) = answer.members.iter().find(|row| row.name == *name) else {
                return Some(format!("{name} has not joined"));
            };
            if row.role != Role::Voter {
                return Some(format!("{name} is no voter yet"));
            }
            if row.state != MemberState::Alive {
                return Some(format!("{name} is {}", row.state.as_str()));
            }
            let lag = row.lag.unwrap_or(u64::MAX);
            (lag > LAG_MAX).then(|| format!("{name} is behind by {lag} log entries"))
        })
    }
}

fn client(url: &str, tls: Option<&ClientTlsArgs>) -> Result<AdminClient, CliError> {
    let url = Url::parse(url)
        .map_err(|error| CliError::Refused(format!("{url:?} is no address: {error}")))?;
    let tls = tls.cloned().unwrap_or_default();
    AdminClient::with_tls(vec![url], ONE_ANSWER, &tls)
}
