//! The three hosts on which each system runs: a network namespace each where these can be
//! had, so that one can be cut off; otherwise the loopback.

use quorate_testkit::{
    host::MemberHost,
    netns::{AimedCut, NamespaceNet},
};
use std::{net::Ipv4Addr, sync::Arc};

/// How many members every system has.
pub const SIZE: usize = 3;

/// Shared by all systems, which run one after the other.
#[derive(Clone)]
pub struct Hosts {
    net: Option<Arc<NamespaceNet>>,
}

impl Hosts {
    /// Namespaces if possible; says so if not.
    pub fn new() -> Hosts {
        let net = NamespaceNet::new(SIZE).map(Arc::new);
        if net.is_none() {
            println!("so the members share the loopback, and no partition is tried");
        }
        Hosts { net }
    }

    /// The loopback, whatever is possible.
    pub fn loopback() -> Hosts {
        Hosts { net: None }
    }

    /// For the members of a cluster.
    pub fn net(&self) -> Option<&Arc<NamespaceNet>> {
        self.net.as_ref()
    }

    /// One host.
    pub fn host(&self, n: usize) -> MemberHost {
        let net = self.net.as_ref();
        net.map_or_else(MemberHost::loopback, |net| MemberHost::namespace(net, n))
    }

    /// The address of broker and service, which no partition concerns.
    pub fn outside(&self) -> Ipv4Addr {
        let net = self.net.as_ref();
        net.map_or(Ipv4Addr::LOCALHOST, |net| net.host())
    }

    /// Gets ready to cut a host off from the other two; `None` without namespaces.
    pub fn aim(&self, host: usize) -> Option<AimedCut<'_>> {
        self.net.as_ref().map(|net| net.aim(host))
    }

    /// Ends that.
    pub fn heal(&self) {
        if let Some(net) = &self.net {
            net.heal();
        }
    }

    /// Packets that the cut has met.
    pub fn dropped(&self, host: usize) -> u64 {
        self.net.as_ref().map_or(0, |net| net.met(host))
    }
}
