//! HAProxy's servers, made from members: a safe name, and addresses as numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use quorate_log::RateLimit;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::member_client::BalancedMember;

/// The time for an answer of the name service.
const LOOKUP: Duration = Duration::from_secs(1);
/// The time for an address to take a connection, where a name has several.
const CONNECT: Duration = Duration::from_millis(300);
/// The interval of the warning about a member that stays without an address.
const REPEAT: Duration = Duration::from_secs(60);

/// A member as HAProxy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackendServer {
    /// The server's name in HAProxy's backend.
    pub(super) name: String,
    /// The address for requests.
    pub(super) http: SocketAddr,
    /// The address for health checks.
    pub(super) admin: SocketAddr,
}

/// The resolver of members' host names. HAProxy resolves none at run time, so it is done here,
/// again and again: a change of the address is a change of the server.
pub(super) struct AddressResolver {
    known: BTreeMap<String, SocketAddr>,
    log_limit: RateLimit,
}

impl Default for AddressResolver {
    fn default() -> Self {
        AddressResolver {
            known: BTreeMap::new(),
            log_limit: RateLimit::new(REPEAT),
        }
    }
}

impl AddressResolver {
    /// Returns the servers for `members`, in their order. A member whose host has no address, and
    /// had none earlier, is left out.
    pub(super) async fn servers(&mut self, members: &[BalancedMember]) -> Vec<BackendServer> {
        let mut servers = Vec::with_capacity(members.len());
        let mut names = BTreeSet::new();
        for member in members {
            let (http, admin) = (&member.http, &member.admin);
            match (self.address(http).await, self.address(admin).await) {
                (Some(http), Some(admin)) => servers.push(BackendServer {
                    name: safe_name(member, &mut names),
                    http,
                    admin,
                }),
                _ => {
                    // Each poll finds the same fault again.
                    if self.log_limit.due(&member.name).is_some() {
                        tracing::warn!(
                            member = member.name,
                            http,
                            admin,
                            "left out: its addresses can't be resolved"
                        );
                    }
                }
            }
        }
        servers
    }

    async fn address(&mut self, host_port: &str) -> Option<SocketAddr> {
        if let Ok(address) = host_port.parse() {
            return Some(address);
        }
        let known = self.known.get(host_port).copied();
        // Sorted, so that an answer in another order is no change.
        let found: BTreeSet<SocketAddr> = match timeout(LOOKUP, lookup_host(host_port)).await {
            Ok(Ok(addresses)) => addresses.collect(),
            _ => return known,
        };
        let mut addresses: Vec<SocketAddr> = found.into_iter().collect();
        // The address in use comes first: it stays for as long as it answers.
        addresses.sort_by_key(|address| Some(*address) != known);
        let address = match addresses[..] {
            [] => return known,
            [only] => only,
            [first, ..] => answering(&addresses).await.unwrap_or(first),
        };
        self.known.insert(host_port.to_owned(), address);
        Some(address)
    }
}

/// Returns the first of a name's addresses that takes a connection: some may lead nowhere from
/// here.
async fn answering(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    for address in addresses {
        if let Ok(Ok(_)) = timeout(CONNECT, TcpStream::connect(address)).await {
            return Some(*address);
        }
    }
    None
}

/// Returns the member's name where HAProxy can bear it, else a name made of it and the id.
fn safe_name(member: &BalancedMember, taken: &mut BTreeSet<String>) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut name = member.name.clone();
    if name.is_empty() || !name.chars().all(fits) || taken.contains(&name) {
        let kept: String = name.chars().filter(|c| fits(*c)).collect();
        name = format!("{kept}.{}", member.id);
    }
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str, http: &str) -> BalancedMember {
        BalancedMember {
            id,
            name: name.to_owned(),
            http: http.to_owned(),
            admin: "127.0.0.1:17110".to_owned(),
        }
    }

    #[tokio::test]
    async fn names_are_safe_and_unique() {
        let at = "127.0.0.1:1";
        let members = [
            member(1, "member-1", at),
            member(4, "bad name\nserver x", at),
            member(5, "", at),
            member(6, "member-1", at),
        ];
        let names: Vec<String> = AddressResolver::default()
            .servers(&members)
            .await
            .into_iter()
            .map(|server| server.name)
            .collect();
        assert_eq!(names, ["member-1", "badnameserverx.4", ".5", "member-1.6"]);
    }

    #[tokio::test]
    async fn known_hosts_resolve_and_unknown_are_left_out() {
        let members = [
            member(1, "a", "[::1]:80"),
            member(2, "b", "localhost:81"),
            member(3, "c", "no-such-host.invalid:82"),
            member(4, "d", "no port"),
        ];
        let servers = AddressResolver::default().servers(&members).await;
        let names: Vec<&str> = servers.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(servers[0].http.to_string(), "[::1]:80");
        assert!(servers[1].http.ip().is_loopback());
    }

    #[tokio::test]
    async fn several_addresses_give_the_one_that_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        // Nobody listens there.
        let silent = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(answering(&[silent, open]).await, Some(open));
        assert_eq!(answering(&[silent]).await, None);
    }
}
