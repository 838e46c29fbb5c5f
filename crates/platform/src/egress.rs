//! Egress rules: the addresses that what is declared may lead this member to: the `upstream` of a
//! service, a broker, its management face.
//!
//! A user who may write the configuration could otherwise have a member call what only the
//! member can reach, and hand the responses on through an HTTP channel: a cloud's metadata,
//! which has the credentials of the machine, or an admin port, with which everyone could command
//! the cluster. So the rules are asked about the address that a connection has come to, before
//! anything is sent: what a name leads to, and what it leads to a moment later, is no way around.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use quorate_types::MemberList;
use tokio::{net::lookup_host, sync::watch, time::timeout};

use crate::ip_network::IpNetwork;

/// Connection that the rules refuse.
#[derive(Debug, thiserror::Error)]
#[error(
    "{to} may not be connected to from this member: {reason}; if it is meant, put {} into egress.allow of the member's settings",
    to.ip().to_canonical()
)]
pub struct EgressRefusal {
    to: SocketAddr,
    reason: RefusalReason,
}

#[derive(Debug, thiserror::Error)]
enum RefusalReason {
    #[error("egress.deny has it")]
    Denied,
    #[error("it is the admin or the peer port of this member")]
    OwnPort,
    #[error("it is the {port} port of {member}")]
    MemberPort { port: &'static str, member: String },
}

/// For the addresses of a member that is known by a name.
const LOOK_UP: Duration = Duration::from_secs(1);

/// Egress rules of one member. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy(Arc<EgressRules>);

#[derive(Debug, Default)]
struct EgressRules {
    deny: Vec<IpNetwork>,
    allow: Vec<IpNetwork>,
    /// The admin and peer ports of this member.
    own_ports: Vec<u16>,
    members: Option<watch::Receiver<MemberList>>,
}

impl EgressPolicy {
    /// Nothing in `deny` is connected to, nor this member's `own_ports` or the admin and peer
    /// ports of `members`; but for what is in `allow`.
    pub fn new(
        deny: &[IpNetwork],
        allow: &[IpNetwork],
        own_ports: impl IntoIterator<Item = u16>,
        members: watch::Receiver<MemberList>,
    ) -> EgressPolicy {
        EgressPolicy(Arc::new(EgressRules {
            deny: deny.to_vec(),
            allow: allow.to_vec(),
            own_ports: own_ports.into_iter().collect(),
            members: Some(members),
        }))
    }

    /// The same without the ports of members, but for this one's `own_ports`.
    pub fn without_members(
        deny: &[IpNetwork],
        allow: &[IpNetwork],
        own_ports: impl IntoIterator<Item = u16>,
    ) -> EgressPolicy {
        EgressPolicy(Arc::new(EgressRules {
            deny: deny.to_vec(),
            allow: allow.to_vec(),
            own_ports: own_ports.into_iter().collect(),
            members: None,
        }))
    }

    /// Whether a connection may go to this address; `from` is where on this host it begins, once
    /// there is one.
    pub async fn check(&self, to: SocketAddr, from: Option<IpAddr>) -> Result<(), EgressRefusal> {
        self.check_address(to, from)?;
        let address = to.ip().to_canonical();
        if self.is_allowed(address) {
            return Ok(());
        }
        match self
            .port_of_member(SocketAddr::new(address, to.port()))
            .await
        {
            Some(reason) => Err(EgressRefusal { to, reason }),
            None => Ok(()),
        }
    }

    /// The same without the ports of other members: asks nobody for an address.
    pub fn check_address(&self, to: SocketAddr, from: Option<IpAddr>) -> Result<(), EgressRefusal> {
        let address = to.ip().to_canonical();
        let refused = |reason| Err(EgressRefusal { to, reason });
        if self.is_allowed(address) {
            return Ok(());
        }
        if self.0.deny.iter().any(|it| it.contains(address)) {
            return refused(RefusalReason::Denied);
        }
        let is_here = address.is_loopback()
            || address.is_unspecified()
            || from.is_some_and(|from| from.to_canonical() == address);
        if is_here && self.0.own_ports.contains(&to.port()) {
            return refused(RefusalReason::OwnPort);
        }
        Ok(())
    }

    fn is_allowed(&self, address: IpAddr) -> bool {
        self.0.allow.iter().any(|it| it.contains(address))
    }

    /// Which member's port for its like or for operators it is.
    async fn port_of_member(&self, to: SocketAddr) -> Option<RefusalReason> {
        let members = self.0.members.as_ref()?.borrow().clone();
        for it in members {
            for (port, face) in [("admin", &it.member.admin), ("peer", &it.member.peer)] {
                if leads_to(face, to).await {
                    let member = it.member.name.clone();
                    return Some(RefusalReason::MemberPort { port, member });
                }
            }
        }
        None
    }
}

/// Whether `host:port` is this address, by one of its host's addresses.
async fn leads_to(face: &str, to: SocketAddr) -> bool {
    let Some((host, port)) = face.rsplit_once(':') else {
        return false;
    };
    if port.parse() != Ok(to.port()) {
        return false;
    }
    let host = host.trim_matches(['[', ']']);
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.to_canonical() == to.ip();
    }
    match timeout(LOOK_UP, lookup_host((host, to.port()))).await {
        Ok(Ok(mut found)) => found.any(|it| it.ip().to_canonical() == to.ip()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::{Member, MemberStatus, Role};

    use super::*;

    fn networks(list: &[&str]) -> Vec<IpNetwork> {
        list.iter().map(|it| it.parse().unwrap()).collect()
    }

    fn egress(allow: &[&str], admin: &str) -> EgressPolicy {
        let member = MemberStatus {
            id: 2,
            member: Member {
                name: "two".into(),
                admin: admin.into(),
                peer: "192.0.2.2:17210".into(),
                ..Member::default()
            },
            role: Role::Voter,
            lag: None,
            reachable: None,
        };
        EgressPolicy::new(
            &networks(&["169.254.0.0/16", "fe80::/10"]),
            &networks(allow),
            [17110, 17210],
            watch::channel(vec![member]).1,
        )
    }

    async fn may(egress: &EgressPolicy, to: &str, from: Option<&str>) -> bool {
        let from = from.map(|it| it.parse().unwrap());
        egress.check(to.parse().unwrap(), from).await.is_ok()
    }

    // guarantee: SECURITY-6
    #[tokio::test]
    async fn denied_addresses_and_member_ports_are_never_connected() {
        let egress = egress(&[], "localhost:17111");
        for (to, from) in [
            ("169.254.169.254:80", None),
            ("[::ffff:169.254.169.254]:80", None),
            ("[fe80::1]:80", None),
            ("127.0.0.1:17110", None),
            ("127.0.0.9:17210", None),
            ("[::1]:17110", None),
            ("[::ffff:127.0.0.1]:17110", None),
            // Connects to this host, too.
            ("0.0.0.0:17110", None),
            ("[::]:17210", None),
            ("10.0.0.7:17110", Some("10.0.0.7")),
            // Another member's, by the name that it is known by, and by its address.
            ("127.0.0.1:17111", None),
            ("192.0.2.2:17210", Some("192.0.2.9")),
            ("[::ffff:192.0.2.2]:17210", None),
        ] {
            assert!(!may(&egress, to, from).await, "{to}");
        }
        for (to, from) in [
            ("127.0.0.1:17010", None),
            ("127.0.0.1:9100", None),
            ("10.0.0.7:17110", Some("10.0.0.8")),
            ("192.0.2.2:17010", None),
            ("[2001:db8::1]:80", None),
        ] {
            assert!(may(&egress, to, from).await, "{to}");
        }
    }

    #[tokio::test]
    async fn allowed_address_connects_and_refusal_names_remedy() {
        let denied = egress(&[], "192.0.2.2:17110");
        let to = "169.254.169.254:80".parse().unwrap();
        let told = denied.check(to, None).await.unwrap_err().to_string();
        for text in ["169.254.169.254:80", "egress.deny", "egress.allow"] {
            assert!(told.contains(text), "{text} is not in: {told}");
        }
        let told = denied.check("192.0.2.2:17110".parse().unwrap(), None).await;
        assert!(
            told.unwrap_err()
                .to_string()
                .contains("the admin port of two")
        );
        let allowed = egress(&["169.254.169.254", "127.0.0.1"], "192.0.2.2:17110");
        assert!(may(&allowed, "169.254.169.254:80", None).await);
        assert!(may(&allowed, "127.0.0.1:17110", None).await);
        assert!(!may(&allowed, "169.254.169.253:80", None).await);
    }
}
