//! Egress rules of a connector process: the addresses that its broker may not have.
//!
//! The same as for services' upstreams, but for the ports of other members, which change while a
//! process runs: it knows those of its own member.

use std::{
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
};

use quorate_platform::{
    egress::{EgressPolicy, EgressRefusal},
    ip_network::IpNetwork,
};
use serde::{Deserialize, Serialize};

use crate::local_rules::LocalRules;

/// Networks in the form in which settings name them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressNetworks {
    /// Networks that are not connected to.
    pub deny: Vec<String>,
    /// Exceptions that are connected to all the same.
    pub allow: Vec<String>,
    /// Admin and peer port of the member.
    pub own_ports: Vec<u16>,
}

impl Default for EgressNetworks {
    fn default() -> Self {
        EgressNetworks {
            deny: ["169.254.0.0/16", "fe80::/10"].map(str::to_owned).into(),
            allow: Vec::new(),
            own_ports: Vec::new(),
        }
    }
}

impl EgressNetworks {
    /// Returns the networks of these settings.
    pub fn new(deny: &[IpNetwork], allow: &[IpNetwork], own_ports: Vec<u16>) -> EgressNetworks {
        let texts = |list: &[IpNetwork]| list.iter().map(ToString::to_string).collect();
        EgressNetworks {
            deny: texts(deny),
            allow: texts(allow),
            own_ports,
        }
    }

    fn policy(&self) -> EgressPolicy {
        // They were written by a member from parsed ones.
        let parsed = |list: &[String]| -> Vec<IpNetwork> {
            list.iter().filter_map(|it| it.parse().ok()).collect()
        };
        EgressPolicy::without_members(
            &parsed(&self.deny),
            &parsed(&self.allow),
            self.own_ports.iter().copied(),
        )
    }
}

/// Checks that this process may connect to this address; `from` is where on this host the
/// connection begins, once there is one.
pub fn check_egress(to: SocketAddr, from: Option<IpAddr>) -> Result<(), EgressRefusal> {
    static POLICY: OnceLock<EgressPolicy> = OnceLock::new();
    let policy = POLICY.get_or_init(|| LocalRules::current().egress.policy());
    policy.check_address(to, from)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Test 53.
    #[test]
    fn networks_survive_the_way_to_the_process() {
        let network = |it: &str| it.parse::<IpNetwork>().unwrap();
        let deny = [network("169.254.0.0/16"), network("fe80::/10")];
        let written = EgressNetworks::new(&deny, &[network("169.254.1.1")], vec![17110]);
        let text = serde_json::to_string(&written).unwrap();
        let read: EgressNetworks = serde_json::from_str(&text).unwrap();
        assert_eq!(read, written);
        let policy = read.policy();
        let may = |to: &str| policy.check_address(to.parse().unwrap(), None).is_ok();
        for denied in [
            "169.254.169.254:5672",
            "[::ffff:169.254.169.254]:5672",
            "[fe80::1]:1414",
            "127.0.0.1:17110",
        ] {
            assert!(!may(denied), "{denied}");
        }
        for allowed in ["169.254.1.1:5672", "127.0.0.1:5672", "192.0.2.1:17110"] {
            assert!(may(allowed), "{allowed}");
        }
    }
}
