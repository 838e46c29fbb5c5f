//! Host of a member: a namespace of its own, or the loopback that all share.

use std::{ffi::OsStr, net::Ipv4Addr, process::Command, sync::Arc};

use crate::{netns::NamespaceNet, process::bound};

/// Where a member runs.
#[derive(Clone, Default)]
pub struct MemberHost(Option<(Arc<NamespaceNet>, usize)>);

impl MemberHost {
    /// Returns the loopback.
    pub fn loopback() -> MemberHost {
        MemberHost(None)
    }

    /// Returns a namespace, counted from 0.
    pub fn namespace(net: &Arc<NamespaceNet>, n: usize) -> MemberHost {
        MemberHost(Some((net.clone(), n)))
    }

    /// Returns its namespaces, when it is one of them.
    pub fn net(&self) -> Option<&Arc<NamespaceNet>> {
        self.0.as_ref().map(|(net, _)| net)
    }

    /// Returns its address.
    pub fn address(&self) -> Ipv4Addr {
        let address = |(net, n): &(Arc<NamespaceNet>, usize)| net.address(*n);
        self.0.as_ref().map_or(Ipv4Addr::LOCALHOST, address)
    }

    /// Makes a command whose process runs there, and is killed when this one ends.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some((net, n)) = &self.0 else {
            return bound(program);
        };
        let mut command = bound("nsenter");
        command.args(net.entrance(*n)).arg(program);
        command
    }
}
