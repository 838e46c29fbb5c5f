//! The `haproxy` program: its place, its version, and its own check of a configuration.

use std::{
    env,
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::unistd::Pid;
use tokio::{process::Command, time::timeout};

use super::{BalancerError, error::ConfigCheckError, haproxy_log::message, render::SOCKET};

/// The oldest version whose runtime socket adds servers with health checks and whose
/// configuration has all that is used.
const OLDEST: (u32, u32) = (2, 6);
/// The time for a call that only looks at something.
const CALL: Duration = Duration::from_secs(15);
/// The folders of distributions, for a PATH without them: not every user's has `sbin`.
const ELSEWHERE: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// A program that can be used.
#[derive(Debug)]
pub(super) struct HaproxyProgram {
    path: PathBuf,
}

impl HaproxyProgram {
    /// Finds the program that the settings name.
    pub(super) async fn find(name: &str) -> Result<HaproxyProgram, BalancerError> {
        let path = look_up(name).ok_or_else(|| {
            BalancerError::Program(format!(
                "there is no program `{name}`; install HAProxy 2.6 or newer (apt-get install haproxy), \
                 or set `haproxy` to where it is"
            ))
        })?;
        let program = HaproxyProgram { path };
        let text = program.call(Path::new("/"), &["-v"]).await?.1;
        match version(&text) {
            Some(found) if found >= OLDEST => Ok(program),
            Some((major, minor)) => Err(BalancerError::Program(format!(
                "{} is HAProxy {major}.{minor}; {}.{} or newer is needed",
                program.path.display(),
                OLDEST.0,
                OLDEST.1
            ))),
            None => Err(BalancerError::Program(format!(
                "{} doesn't say that it is HAProxy; `-v` answered: {}",
                program.path.display(),
                text.trim()
            ))),
        }
    }

    /// Has HAProxy check `file` in `dir`; the error has HAProxy's own words.
    pub(super) async fn check(&self, dir: &Path, file: &str) -> Result<(), ConfigCheckError> {
        match self.call(dir, &["-c", "-f", file]).await {
            Ok((true, _)) => Ok(()),
            Ok((false, output)) => {
                let alerts = output.lines().filter(|line| line.starts_with("[ALERT]"));
                let alerts: Vec<_> = alerts.map(message).collect();
                Err(ConfigCheckError::Alerts(alerts.join("; ")))
            }
            Err(error) => Err(ConfigCheckError::NotRun(Box::new(error))),
        }
    }

    /// Makes the command that runs HAProxy in the foreground, as one process. With `old`, it takes
    /// the listening sockets over from that process, which then finishes its requests and ends.
    ///
    /// Not in master-worker mode: its master loses signals that arrive while it executes
    /// itself anew, which it does right after its start.
    pub(super) fn command(
        &self,
        dir: &Path,
        file: &str,
        old: Option<Pid>,
    ) -> std::process::Command {
        let mut command = std::process::Command::new(&self.path);
        command
            .env_clear()
            .envs(environment())
            .current_dir(dir)
            .args(["-db", "-f", file]);
        if let Some(old) = old {
            command.args(["-x", SOCKET, "-sf", &old.to_string()]);
        }
        command
    }

    /// Runs the program; returns whether it succeeded, and all of its output.
    async fn call(&self, dir: &Path, args: &[&str]) -> Result<(bool, String), BalancerError> {
        let failed = |why: String| {
            BalancerError::Program(format!("{} can't be run: {why}", self.path.display()))
        };
        let output = Command::new(&self.path)
            .args(args)
            .env_clear()
            .envs(environment())
            .current_dir(dir)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(CALL, output)
            .await
            .map_err(|_| failed(format!("no answer within {} s", CALL.as_secs())))?
            .map_err(|e| failed(e.to_string()))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.success(), text))
    }
}

/// Returns what HAProxy is given of our environment: what its libraries go by, and no secrets.
fn environment() -> impl Iterator<Item = (&'static str, OsString)> {
    let names = ["PATH", "LANG", "LC_ALL", "TZ", "OPENSSL_CONF"];
    names
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)))
}

fn look_up(name: &str) -> Option<PathBuf> {
    let runs = |path: &Path| {
        path.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return std::path::absolute(name).ok().filter(|path| runs(path));
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    let elsewhere = ELSEWHERE.iter().map(PathBuf::from);
    env::split_paths(&paths)
        .chain(elsewhere)
        .map(|folder| folder.join(name))
        .find(|path| runs(path))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let words = text
        .strip_prefix("HAProxy version ")
        .or_else(|| text.strip_prefix("HA-Proxy version "))?;
    let mut numbers = words.split(['.', '-', ' ']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(
            version("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - x"),
            Some((2, 6))
        );
        assert_eq!(version("HA-Proxy version 2.0.33 2023/02/14"), Some((2, 0)));
        assert_eq!(version("HAProxy version 3.1-dev2-abc 2024"), Some((3, 1)));
        assert_eq!(version("GNU bash, version 5"), None);
    }

    #[tokio::test]
    async fn program_has_little_of_our_environment() {
        let program = HaproxyProgram {
            path: "/usr/bin/env".into(),
        };
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some());
        let (_, output) = program.call(Path::new("/"), &[]).await.unwrap();
        assert!(
            output.contains("PATH=") && !output.contains("CARGO"),
            "{output}"
        );
    }

    #[tokio::test]
    async fn missing_or_foreign_program_is_an_error() {
        let missing = HaproxyProgram::find("no-such-haproxy")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("no program `no-such-haproxy`") && missing.contains("apt-get install"),
            "{missing}"
        );
        let other = HaproxyProgram::find("/bin/echo")
            .await
            .unwrap_err()
            .to_string();
        assert!(other.contains("doesn't say that it is HAProxy"), "{other}");
    }
}
