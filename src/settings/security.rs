//! The settings `security.*`: whether people and programs at the admin port are asked who they are.

use std::path::{Path, PathBuf};

use super::reader::SettingsReader;

/// Whether callers of the admin port are asked who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityMode {
    /// Nobody is asked: whoever reaches the port may do everything.
    #[default]
    Local,
    /// Everybody is asked, but for the health of the member.
    On,
}

/// The settings about callers of the admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecuritySettings {
    /// The mode.
    pub mode: SecurityMode,
    /// The socket at which the member's own user and root are administrators; `None`: there is
    /// none. Its folder is `run`, beside the data.
    pub local_socket: Option<PathBuf>,
    /// The file of the audit trail; `None` where nobody is asked, so that nobody is known.
    pub audit_file: Option<PathBuf>,
}

/// Reads the settings. `may_carry_tokens`: the admin and peer ports have TLS, or a network that is
/// trusted.
pub(super) fn read(
    r: &mut SettingsReader,
    (folder, data_dir): (&Path, &Path),
    may_carry_tokens: bool,
) -> SecuritySettings {
    let mode = mode(r, may_carry_tokens);
    let local_admin = r.boolean("security.local_admin", true);
    let is_served = mode == SecurityMode::On && local_admin;
    let audit_file = r.optional_path("audit.file");
    // Beside the data, not in it.
    let audit_file = match audit_file {
        Some(path) => folder.join(path),
        None => data_dir.with_file_name("audit").join("audit.jsonl"),
    };
    SecuritySettings {
        mode,
        local_socket: is_served.then(|| socket_beside(data_dir)),
        audit_file: (mode == SecurityMode::On).then_some(audit_file),
    }
}

/// Returns the path of the socket of a member with this data folder.
pub fn socket_beside(data_dir: &Path) -> PathBuf {
    data_dir.with_file_name("run").join("admin.sock")
}

fn mode(r: &mut SettingsReader, may_carry_tokens: bool) -> SecurityMode {
    const KEY: &str = "security.mode";
    const WHAT: &str = "\"local\" (whoever reaches the admin port may do everything) or \"on\" (everybody is asked who he is)";
    let Some((text, given)) = r.text(KEY, WHAT) else {
        return SecurityMode::Local;
    };
    match text.as_str() {
        "local" => SecurityMode::Local,
        "on" if may_carry_tokens => SecurityMode::On,
        "on" => {
            let problem = "would send tokens over ports without TLS, where they can be read: give the member a certificate (tls.cert, tls.key and tls.ca), say that the network is trusted, insecure = [\"admin\", \"peer\"], or leave the mode at \"local\"";
            r.bad(KEY, Some(&given), problem);
            SecurityMode::On
        }
        _ => {
            r.bad(KEY, Some(&given), format!("must be {WHAT}"));
            SecurityMode::Local
        }
    }
}
