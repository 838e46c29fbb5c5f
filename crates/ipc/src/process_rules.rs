//! Rules of this host for a connector's process itself, beside what its connector may use.

use serde::{Deserialize, Serialize};

/// Whether connector processes are kept in a sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// No sandbox.
    Off,
    /// As much of it as the kernel can keep.
    #[default]
    BestEffort,
    /// No process runs without one that keeps every file.
    Required,
}

/// Rules for a connector's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRules {
    /// Variables of the member's environment that it is given beside the usual ones.
    pub environment: Vec<String>,
    /// Its sandbox.
    pub sandbox: SandboxMode,
    /// True if it writes a core when it crashes, and may be looked into by a debugger.
    pub core_dumps: bool,
}

impl Default for ProcessRules {
    fn default() -> Self {
        ProcessRules {
            // Its folders are held to the rule of the libraries: see `local_rules`.
            environment: vec!["LD_LIBRARY_PATH".to_owned()],
            sandbox: SandboxMode::default(),
            core_dumps: false,
        }
    }
}
