//! Member as a process of the real binary.

use std::{
    fs::{self, OpenOptions},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    host::MemberHost,
    ports,
    process::{ChildProcess, bound},
    programs::QUORATE,
};

/// A member's folder, addresses and, while it runs, its process.
pub struct MemberProcess {
    /// The name.
    pub name: String,
    /// The folder, with configuration, data and log.
    pub dir: PathBuf,
    /// The port for services.
    pub http: u16,
    /// The port for REST.
    pub admin: u16,
    /// The port for other members.
    pub peer: u16,
    /// The address.
    pub ip: Ipv4Addr,
    host: MemberHost,
    /// Started in place of the binary: a program that embeds a member, with this variable.
    pub embedding: Option<(PathBuf, (&'static str, String))>,
    process: Option<ChildProcess>,
}

impl MemberProcess {
    /// Writes a member's configuration; starts nothing. `extra` is appended to it.
    pub fn new(
        host: MemberHost,
        root: &Path,
        n: usize,
        failover_ms: u64,
        extra: &str,
    ) -> MemberProcess {
        let ip = host.address();
        // Beyond the loopback a member has to be told that it may.
        let insecure = host.net().is_some();
        let dir = root.join(format!("member-{n}"));
        fs::create_dir_all(&dir).expect("the member's folder");
        let member = MemberProcess {
            name: format!("member-{n}"),
            http: ports::free(),
            admin: ports::free(),
            peer: ports::free(),
            dir,
            ip,
            host,
            embedding: None,
            process: None,
        };
        let config = format!(
            "name = \"{}\"\ndata_dir = \"data\"\nfailover_ms = {failover_ms}\npid_file = \"pid\"\n\
             ibm_mq.libraries = [\"/**\"]\ninsecure = {insecure}\n\
             http.bind = \"{ip}:{}\"\nadmin.bind = \"{ip}:{}\"\npeer.bind = \"{ip}:{}\"\n{extra}\n",
            member.name, member.http, member.admin, member.peer
        );
        fs::write(member.config(), config).expect("the member's configuration");
        member
    }

    /// Returns the path of the configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join("quorate.toml")
    }

    /// Returns an address at the REST port.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.ip, self.admin)
    }

    /// Returns an address at the port for services.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.ip, self.http)
    }

    /// Returns the path of the log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("quorate.log")
    }

    /// Starts the process; its output is appended to its log.
    pub fn start(&mut self, flags: &[&str]) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log());
        self.start_saying_to(flags, log.expect("the log").into());
    }

    /// Starts the process with another stderr.
    pub fn start_saying_to(&mut self, flags: &[&str], err: Stdio) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut command = match &self.embedding {
            Some((program, (name, value))) => {
                let mut command = bound(program);
                command.env(name, value);
                command
            }
            None => {
                let mut command = self.host.command(&*QUORATE);
                command.arg("server").arg("--config");
                command
            }
        };
        command.arg(self.config()).args(flags);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(err);
        self.process = Some(ChildProcess::spawn(command).expect("the member's process"));
    }

    /// Returns whether it was started, and neither killed nor waited for since.
    pub fn running(&self) -> bool {
        self.process.is_some()
    }

    fn process(&self) -> &ChildProcess {
        self.process.as_ref().expect("a running member")
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Kills the process, and reaps it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Waits for the process to end by itself.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let mut process = self.process.take().expect("a running member");
        let status = process.wait_within(limit);
        status.unwrap_or_else(|| panic!("{} did not end within {limit:?}", self.name))
    }

    /// Sends SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit(Duration::from_secs(10))
    }

    /// Returns the last lines of the log, for a failing test.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for MemberProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.name, self.log_tail());
        }
    }
}
