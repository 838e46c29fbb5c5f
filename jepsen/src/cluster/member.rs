//! Member of the cluster: its folder, its addresses and, while it runs, its processes.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_testkit::{
    host::MemberHost,
    ports,
    process::{self, ChildProcess},
};

use super::error::ClusterError;

/// Name of a member's log.
pub const LOG: &str = "quorate.log";

/// Ports of a member.
#[derive(Clone, Copy, Debug)]
pub struct MemberPorts {
    /// The port for services.
    pub http: u16,
    /// The port for REST.
    pub admin: u16,
    /// The port for other members.
    pub peer: u16,
}

impl MemberPorts {
    /// Returns ports that nobody listens on.
    pub fn free() -> MemberPorts {
        MemberPorts {
            http: ports::free(),
            admin: ports::free(),
            peer: ports::free(),
        }
    }
}

/// Member of the cluster under test.
pub struct ClusterMember {
    /// The id, from 1.
    pub id: u64,
    /// `members/N` of the run's folder.
    pub dir: PathBuf,
    /// The folder of the data, on a disk of its own with some nemeses.
    pub data: PathBuf,
    /// The file for the output, on the same disk where that is to be full.
    pub log: PathBuf,
    /// The address.
    pub ip: Ipv4Addr,
    /// The ports.
    pub ports: MemberPorts,
    /// The namespace, where members have some.
    pub host: MemberHost,
    /// The program under test.
    pub quorate: PathBuf,
    /// The variables that are set for the process.
    pub environment: Vec<(String, String)>,
    /// The process, while it runs.
    pub process: Mutex<Option<ChildProcess>>,
    /// The ends of processes that nobody had ended.
    pub ended: Mutex<Vec<String>>,
    /// The reason why the member need not run or have the same state in the end.
    pub excused: Mutex<Option<String>>,
}

impl ClusterMember {
    /// Returns the path of the settings.
    pub fn config(&self) -> PathBuf {
        self.dir.join("quorate.toml")
    }

    /// Copies the log to where the run's folder has it.
    pub fn keep_log(&self) -> io::Result<()> {
        let kept = self.dir.join(LOG);
        if self.log != kept && self.log.exists() {
            fs::copy(&self.log, kept)?;
        }
        Ok(())
    }

    /// Returns an address at the REST port.
    pub fn admin(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.ip, self.ports.admin)
    }

    /// Returns an address at the port for services.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.ip, self.ports.http)
    }

    /// Makes a command that runs where the member does.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.host.command(program);
        command.stdin(Stdio::null());
        command
    }

    /// Starts the process, unless it runs already; its output is appended to its log.
    pub fn start(&self, flags: &[&str]) -> Result<(), ClusterError> {
        self.launch(flags).map_err(|source| ClusterError::Start {
            member: self.id,
            source,
        })
    }

    fn launch(&self, flags: &[&str]) -> io::Result<()> {
        let mut process = self.process.lock();
        self.reap(&mut process);
        if process.is_some() {
            return Ok(());
        }
        let mut command = self.command(&self.quorate);
        command
            .arg("server")
            .arg("--config")
            .arg(self.config())
            .args(flags)
            .envs(self.environment.iter().cloned())
            // A group of its own: it can be stopped as a whole, and Ctrl-C doesn't reach it.
            .process_group(0);
        process::logged(&mut command, &self.log)?;
        *process = Some(ChildProcess::spawn(command)?);
        Ok(())
    }

    /// Notes the end of a process that ended by itself.
    fn reap(&self, process: &mut Option<ChildProcess>) {
        if let Some(status) = process.as_mut().and_then(ChildProcess::status) {
            self.ended.lock().push(status.to_string());
            *process = None;
        }
    }

    /// Returns the process id, while the process runs.
    pub fn pid(&self) -> Option<u32> {
        let mut process = self.process.lock();
        self.reap(&mut process);
        process.as_ref().map(ChildProcess::pid)
    }

    /// Kills the process, and reaps it; gives whether it ran. The processes of its connectors end
    /// by themselves, as they should.
    pub fn kill(&self) -> bool {
        let mut process = self.process.lock();
        self.reap(&mut process);
        process.take().is_some()
    }

    /// Kills every process of the member, also those that are stopped.
    pub fn end(&self) {
        let mut process = self.process.lock();
        if let Some(process) = process.take() {
            let _ = killpg(Pid::from_raw(process.pid() as i32), Signal::SIGKILL);
        }
    }

    /// Has every process of the member killed by `kill`, which is given their group, if any runs.
    /// Nobody else sees the process end meanwhile, so that it counts as ended by us.
    pub fn end_by<T>(&self, kill: impl FnOnce(Option<u32>) -> T) -> T {
        let mut process = self.process.lock();
        self.reap(&mut process);
        let killed = kill(process.as_ref().map(ChildProcess::pid));
        process.take();
        killed
    }

    /// Waits until the process has ended by itself; gives whether it has.
    pub async fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.pid().is_some() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Returns the processes of the member's connectors.
    pub fn connectors(&self) -> Vec<u32> {
        self.pid().map(process::children).unwrap_or_default()
    }
}
