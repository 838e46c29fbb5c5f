//! Settings of a member's own process and of those that it starts.

use quorate_ipc::SandboxMode;
use quorate_platform::socket_owner;
use tokio::net::TcpStream;

use super::reader::SettingsReader;

/// Settings of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardeningSettings {
    /// The sandbox of connector processes.
    pub sandbox: SandboxMode,
    /// Variables of the environment that connector processes are given beside the usual ones.
    pub connector_environment: Vec<String>,
    /// True if processes may write cores and be looked into by debuggers.
    pub core_dumps: bool,
    /// True if the member is run as root on purpose.
    pub allow_root: bool,
    /// Who on this host may use the admin and the peer port.
    pub loopback: LoopbackUsers,
}

/// Users of this host whose connections are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoopbackUsers {
    /// All of them.
    #[default]
    Everyone,
    /// The member's own, and root.
    SameUser,
}

impl LoopbackUsers {
    /// Returns true if the user at the other end of a connection is one of them, or on another
    /// host.
    pub(crate) fn admit(self, connection: &TcpStream) -> bool {
        self == LoopbackUsers::Everyone || socket_owner::is_same_user(connection)
    }
}

const LOOPBACK: &str = "\"everyone\" or \"same_user\"";
const SANDBOX: &str = "\"best-effort\", \"required\" or \"off\"";

/// Name that no variable has.
#[derive(Debug, thiserror::Error)]
#[error(
    "is no name of a variable that may be handed on: letters, digits and underscores, as in LD_LIBRARY_PATH; QUORATE_* are the member's own"
)]
struct NoVariable;

/// Reads the settings.
pub(super) fn read(r: &mut SettingsReader) -> HardeningSettings {
    let defaults = quorate_ipc::ProcessRules::default();
    HardeningSettings {
        sandbox: r.choice(
            "security.sandbox",
            SANDBOX,
            &[
                ("best-effort", SandboxMode::BestEffort),
                ("required", SandboxMode::Required),
                ("off", SandboxMode::Off),
            ],
        ),
        connector_environment: r
            .list("connectors.environment", check_variable)
            .unwrap_or(defaults.environment),
        core_dumps: r.boolean("security.core_dumps", false),
        allow_root: r.boolean("security.allow_root", false),
        loopback: r.choice(
            "security.loopback",
            LOOPBACK,
            &[
                ("everyone", LoopbackUsers::Everyone),
                ("same_user", LoopbackUsers::SameUser),
            ],
        ),
    }
}

fn check_variable(name: &str) -> Result<(), NoVariable> {
    let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let starts = name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
    if starts && name.chars().all(is_name) && !name.starts_with("QUORATE_") {
        Ok(())
    } else {
        Err(NoVariable)
    }
}
