//! Faults of the connector server, by signals to its processes.

use std::fmt;

/// One kind of fault.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ServerFault {
    /// kill -9 of the member's process.
    Kill,
    /// SIGSTOP of the member's process alone; its connectors' processes go on.
    StopMember,
    /// SIGSTOP of the member's process and of all that it has started.
    StopProcesses,
    /// SIGSTOP of the process of this channel alone.
    StopConnector(&'static str),
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerFault::Kill => f.write_str("kill -9 of the member"),
            ServerFault::StopMember => f.write_str("SIGSTOP of the member's process"),
            ServerFault::StopProcesses => f.write_str("SIGSTOP of all its processes"),
            ServerFault::StopConnector(_) => f.write_str("SIGSTOP of a connector's process"),
        }
    }
}
