//! The question that comes before anything stands in the keyring: do all members know of it?
//!
//! A member whose program does not know a command of the log ends when it comes to it. Members
//! announce their keys by themselves, so the first one that is upgraded would end all the others.
//! So as long as the keyring is empty each member asks the others at their admin ports, and
//! announces nothing before all have said that they seal. What is in the keyring after that was
//! read by all.

use std::time::Duration;

use futures_util::future::join_all;
use quorate_types::{MemberId, MemberList};

use crate::admin::{
    member_report::{self, MemberReport},
    peers::AdminPeers,
};

/// The time for an answer.
const WAIT: Duration = Duration::from_secs(1);

/// Returns the names of the other members that don't seal, as far as could be learned.
pub(super) async fn not_sealing(
    peers: &AdminPeers,
    me: MemberId,
    members: &MemberList,
) -> Vec<String> {
    let others = members.iter().filter(|it| it.id != me);
    let asked = others.map(async |it| {
        let report = peers.get::<MemberReport>(&it.member.admin, member_report::PATH, WAIT);
        let seals = report
            .await
            .is_ok_and(|report| report.id == it.id && report.seals);
        (!seals).then(|| it.member.name.clone())
    });
    join_all(asked).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get};
    use quorate_types::{Member, MemberStatus, Role};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    /// Starts an admin port that reports this, and returns its address.
    async fn reporting(report: Value) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = get(|| async move { Json(report) });
        let router = Router::new().route(member_report::PATH, answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn member(id: MemberId, admin: &str) -> MemberStatus {
        MemberStatus {
            id,
            member: Member {
                name: format!("member-{id}"),
                admin: admin.into(),
                ..Member::default()
            },
            role: Role::Voter,
            lag: None,
            reachable: None,
        }
    }

    /// Security test 64: a member of an older version, which would end at the first command about
    /// the keyring, is waited for, and so is one that does not answer.
    #[tokio::test]
    async fn older_and_silent_members_are_waited_for() {
        let strain = serde_json::to_value(member_report::StrainRow::default()).unwrap();
        let old = json!({"id": 2, "connectors": [], "strain": strain});
        let mut new = old.clone();
        new["seals"] = true.into();
        let (old, new) = (reporting(old).await, reporting(new).await);
        let peers = AdminPeers::new().unwrap();
        let waits_for = async |admin: &str| {
            let members = vec![member(1, "127.0.0.1:1"), member(2, admin)];
            not_sealing(&peers, 1, &members).await
        };
        assert_eq!(waits_for(&old).await, ["member-2"]);
        assert_eq!(waits_for("127.0.0.1:1").await, ["member-2"]);
        assert!(waits_for(&new).await.is_empty());
    }
}
