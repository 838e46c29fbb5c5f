//! `quorate members`

use quorate_raft::Role;

use super::{
    client::{Client, ClientArgs},
    failure::Failure,
    output::{self, Output},
};
use crate::admin::answers::{MemberRow, MembersAnswer};

/// The options.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,
}

/// Lists the members.
pub async fn run(args: Args) -> Result<(), Failure> {
    let answer: MembersAnswer = Client::new(&args.client)?
        .get_json("/v1/cluster/members")
        .await?;
    match args.client.output {
        Output::Json => output::json(&answer),
        Output::Table => table(&answer.members),
    }
}

/// Prints members as a table.
pub fn table(members: &[MemberRow]) -> Result<(), Failure> {
    let rows = members.iter().map(|member| {
        let role = match member.role {
            Role::Voter => "voter",
            Role::Learner => "learner",
        };
        vec![
            member.name.clone(),
            member.id.to_string(),
            role.to_owned(),
            member.state.as_str().to_owned(),
            member.lag.map(|lag| lag.to_string()).unwrap_or_default(),
            member.http.clone(),
            member.admin.clone(),
            member.peer.clone(),
        ]
    });
    output::table(
        &[
            "name", "id", "role", "state", "lag", "http", "admin", "peer",
        ],
        rows,
    )
}
