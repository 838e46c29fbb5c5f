//! What protects a member's process and those of its connectors on this host.

use nix::unistd::geteuid;
use quorate_ipc::{
    EgressNetworks, ProcessRules, SandboxMode,
    connector_sandbox::{self, ConnectorSandboxError},
};
use quorate_platform::egress::EgressPolicy;
use quorate_types::MemberList;
use tokio::sync::watch;

use crate::settings::{EgressSettings, HardeningSettings, Settings};

/// Makes the rules for what the configuration has this member connect to.
pub(super) fn egress(settings: &Settings, members: watch::Receiver<MemberList>) -> EgressPolicy {
    let EgressSettings { deny, allow } = &settings.egress;
    EgressPolicy::new(deny, allow, own_ports(settings), members)
}

/// Makes the same rules for connector processes.
pub(super) fn egress_networks(settings: &Settings) -> EgressNetworks {
    let EgressSettings { deny, allow } = &settings.egress;
    EgressNetworks::new(deny, allow, own_ports(settings).into())
}

/// Returns the ports of this member that are not for services.
fn own_ports(settings: &Settings) -> [u16; 2] {
    [settings.admin.bind.port(), settings.peer.bind.port()]
}

/// Makes the rules for connector processes themselves.
pub(super) fn process_rules(settings: &HardeningSettings) -> ProcessRules {
    ProcessRules {
        environment: settings.connector_environment.clone(),
        sandbox: settings.sandbox,
        core_dumps: settings.core_dumps,
    }
}

/// Finds out what this host can't do for the member, and returns sentences about it. An error:
/// the settings want what it can't.
pub(super) fn look_at_host(
    settings: &HardeningSettings,
) -> Result<Vec<String>, ConnectorSandboxError> {
    let abi = connector_sandbox::check(settings.sandbox)?;
    metrics::gauge!("quorate_connector_sandbox_abi").set(f64::from(abi));
    if geteuid().is_root() && !settings.allow_root {
        tracing::warn!(
            "the member runs as root, and so do its connector processes: give it a user of its own (examples/systemd has a unit), or set security.allow_root = true"
        );
    }
    let warnings: Vec<String> = sandbox_warning(settings.sandbox, abi).into_iter().collect();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(warnings)
}

fn sandbox_warning(mode: SandboxMode, abi: u8) -> Option<String> {
    match (mode, abi) {
        (SandboxMode::BestEffort, 0) => Some(
            "connector processes have no sandbox, since this kernel has no Landlock: run one from 5.13 on with `landlock` among its lsm=, or set security.sandbox = \"off\" to be warned no more".into(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_sandbox_is_warned_of_unless_meant() {
        let told = sandbox_warning(SandboxMode::BestEffort, 0).unwrap();
        for text in ["Landlock", "security.sandbox"] {
            assert!(told.contains(text), "{text}: {told}");
        }
        assert_eq!(sandbox_warning(SandboxMode::BestEffort, 1), None);
        assert_eq!(sandbox_warning(SandboxMode::Off, 0), None);
    }
}
