//! One process of a quickstart: its command line, its log, and the check whether it runs.
//!
//! A process is known by its command line and never by its id alone, which may be another's by now.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use quorate_platform::host_processes;
use tokio::process::{Child, Command};

/// The number of lines of a log that explain an end.
const TAIL_LINES: usize = 15;
const TAIL_BYTES: usize = 64 << 10;

/// The specification of a member or the balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessSpec {
    /// The name in reports: the member's name, or "the balancer".
    pub name: String,
    /// `server` or `balancer`.
    pub subcommand: &'static str,
    /// The settings file.
    pub config: PathBuf,
    /// The file for its output when it is started here.
    pub log: PathBuf,
}

impl ProcessSpec {
    /// Finds the processes that run on these settings, started here or by hand.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        host_processes::all().filter(|pid| {
            host_processes::runs(*pid, self.subcommand, &self.config) && host_processes::alive(*pid)
        })
    }

    /// Returns true if one runs.
    pub(super) fn runs(&self) -> bool {
        self.pids().next().is_some()
    }

    /// Starts a process, in a group of its own: Ctrl-C is for the quickstart, which stops the
    /// others in an orderly way.
    pub(super) fn start(&self, program: &Path, flags: &[String]) -> io::Result<Child> {
        let out = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(program);
        command
            .arg(self.subcommand)
            .arg("--config")
            .arg(&self.config)
            .args(flags);
        // The folder's files have all settings; a variable would go to all members alike.
        let ours = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("QUORATE_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0);
        command.spawn()
    }

    /// Returns the last lines of the log.
    pub(super) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text =
            String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL_BYTES)..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..]
            .iter()
            .map(|line| format!("  {line}\n"))
            .collect()
    }
}
