//! Processes of this host, as `/proc` shows them.

use std::{
    ffi::OsString,
    os::unix::{ffi::OsStringExt, fs::MetadataExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::ExitStatus,
};

use nix::{
    errno::Errno,
    sys::signal,
    unistd::{Pid, geteuid},
};

use crate::pid_file;

/// Returns the ids of all processes.
pub fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").ok();
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Returns the short name of a process.
pub fn name(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(text.trim_end().to_owned())
}

/// Returns a process's command line, word by word; empty for one that has ended and not been
/// reaped.
pub fn command_line(pid: u32) -> Option<Vec<OsString>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    Some(
        words
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect(),
    )
}

/// Returns `true` if a process of this user runs `quorate SUBCOMMAND --config FILE`: by that a
/// process of ours differs from one that got the same id after it. A relative path counts from the
/// process's folder; a member shows that to root alone, so of such a one it counts that it has
/// written its id beside the file.
pub fn runs(pid: u32, subcommand: &str, file: &Path) -> bool {
    if !is_ours(pid) {
        return false;
    }
    let Some(words) = command_line(pid) else {
        return false;
    };
    if !words.iter().skip(1).any(|word| word == subcommand) {
        return false;
    }
    let Some(given) = config_argument(&words) else {
        return false;
    };
    let Ok(ours) = file.canonicalize() else {
        return false;
    };
    match std::fs::read_link(format!("/proc/{pid}/cwd")) {
        Err(_) if given.is_relative() => {
            given.file_name() == ours.file_name()
                && pid_file::read(&ours.with_file_name("pid")) == Some(pid)
        }
        folder => {
            let given = folder.unwrap_or_default().join(given);
            given.canonicalize().is_ok_and(|theirs| theirs == ours)
        }
    }
}

/// Returns `true` if the process is this user's.
fn is_ours(pid: u32) -> bool {
    let process = std::fs::metadata(format!("/proc/{pid}"));
    process.is_ok_and(|it| it.uid() == geteuid().as_raw())
}

fn config_argument(words: &[OsString]) -> Option<PathBuf> {
    let at = words.iter().position(|word| word == "--config");
    if let Some(at) = at {
        return words.get(at + 1).map(PathBuf::from);
    }
    words
        .iter()
        .find_map(|word| word.to_str()?.strip_prefix("--config=").map(PathBuf::from))
}

/// Describes how a process ended, in words that follow its name.
pub fn describe_exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended".into(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => match signal::Signal::try_from(signal) {
            Ok(signal) => format!("was ended by {signal}"),
            Err(_) => format!("was ended by signal {signal}"),
        },
        (None, None) => "ended".into(),
    }
}

/// Returns `true` if this process was started with this signal ignored, as `nohup` does it.
pub fn ignores(signal: signal::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| (mask >> (signal as u32 - 1)) & 1 == 1)
}

/// Sends a signal; `false` when there is no such process any more.
pub fn send(pid: u32, signal: signal::Signal) -> bool {
    let Ok(pid) = i32::try_from(pid) else {
        return false;
    };
    signal::kill(Pid::from_raw(pid), signal) != Err(Errno::ESRCH)
}

/// Returns `true` if a process runs, which one that has ended and waits to be reaped does not.
pub fn alive(pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name stands in parentheses and may hold anything; the state follows it.
    let state = text
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use quorate_clock::Instant;

    use super::*;

    #[test]
    fn process_is_identified_by_subcommand_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("quorate.toml");
        std::fs::write(&file, "").unwrap();
        let mut child = Command::new("sh")
            .current_dir(dir.path())
            .args(["-c", "read wait", "server", "--config", "quorate.toml"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        // The new program's command line shows up a moment after the start returns.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !runs(pid, "server", &file) {
            assert!(Instant::now() < deadline, "{:?}", command_line(pid));
            std::thread::yield_now();
        }
        assert!(!runs(pid, "balancer", &file));
        assert!(!runs(pid, "server", Path::new("/etc/passwd")));
        assert!(alive(pid));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!alive(pid));
        assert!(!runs(pid, "server", &file));
    }

    #[test]
    fn endings_have_words() {
        let told = |raw| describe_exit(ExitStatus::from_raw(raw));
        assert_eq!(told(0), "ended");
        assert_eq!(told(1 << 8), "ended with exit code 1");
        assert_eq!(told(15), "was ended by SIGTERM");
    }

    #[test]
    fn config_is_found_in_both_forms() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            config_argument(&words("q server --config a")),
            Some("a".into())
        );
        assert_eq!(
            config_argument(&words("q server --config=b")),
            Some("b".into())
        );
        assert_eq!(config_argument(&words("q server --config")), None);
        assert_eq!(config_argument(&words("q server")), None);
    }
}
