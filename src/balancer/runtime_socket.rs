//! HAProxy's runtime socket, by which servers come and go without a reload.
//!
//! Works with HAProxy 2.6 and newer. `add server` makes a server that is in maintenance;
//! its health is set to down before it is enabled, so that its first request comes after
//! its first good check.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use super::{
    backend_servers::BackendServer,
    render::{BACKEND, SOCKET},
};

/// The time for one command.
const COMMAND: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_BYTES: u64 = 1 << 20;

/// The socket. Nothing is held open: HAProxy may be replaced between two commands.
pub(super) struct RuntimeSocket {
    // A socket's path may have 107 bytes, a folder's many more: through the open folder
    // the path is always short.
    dir: File,
}

impl RuntimeSocket {
    /// Returns the socket in `dir`, whether or not a process listens.
    pub(super) fn new(dir: &Path) -> io::Result<RuntimeSocket> {
        Ok(RuntimeSocket {
            dir: File::open(dir)?,
        })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.dir.as_raw_fd()))
    }

    /// Sends one command and returns its answer.
    async fn command(&self, command: &str) -> io::Result<String> {
        let exchange = async {
            let mut stream = UnixStream::connect(self.path()).await?;
            stream.write_all(command.as_bytes()).await?;
            stream.write_all(b"\n").await?;
            let mut answer = String::new();
            stream
                .take(ANSWER_BYTES)
                .read_to_string(&mut answer)
                .await?;
            Ok(answer.trim().to_owned())
        };
        timeout(COMMAND, exchange)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Sends a command that answers nothing on success, or text that begins with `good`.
    async fn execute(&self, command: &str, good: &str) -> io::Result<()> {
        let answer = self.command(command).await?;
        if answer.is_empty() || (!good.is_empty() && answer.starts_with(good)) {
            return Ok(());
        }
        let words: Vec<&str> = command.split(' ').take(3).collect();
        Err(io::Error::other(format!(
            "`{}` was answered with `{answer}`",
            words.join(" ")
        )))
    }

    /// Returns the process that answers; an error where none does.
    pub(super) async fn process(&self) -> io::Result<i32> {
        let info = self.command("show info").await?;
        info.lines()
            .find_map(|line| line.strip_prefix("Pid: "))
            .and_then(|pid| pid.trim().parse().ok())
            .ok_or_else(|| io::Error::other("`show info` names no process"))
    }

    /// Adds a server; it gets requests once its health is known to be good.
    pub(super) async fn add(&self, server: &BackendServer, keywords: &str) -> io::Result<()> {
        let name = format!("{BACKEND}/{}", server.name);
        let add = format!("add server {name} {} {keywords}", server.http);
        self.execute(&add, "New server registered").await?;
        self.execute(&format!("set server {name} health down"), "")
            .await?;
        self.execute(&format!("enable health {name}"), "").await?;
        self.execute(&format!("enable server {name}"), "").await
    }

    /// Gives a server no further requests; those that it has are finished.
    pub(super) async fn retire(&self, name: &str) -> io::Result<()> {
        self.execute(&format!("set server {BACKEND}/{name} state maint"), "")
            .await
    }

    /// Deletes a retired server. Refused while a request or a connection is left.
    pub(super) async fn delete(&self, name: &str) -> io::Result<()> {
        self.execute(&format!("del server {BACKEND}/{name}"), "Server deleted")
            .await
    }
}
