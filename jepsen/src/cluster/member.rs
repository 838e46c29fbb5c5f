//! Member of the cluster: its folder, its addresses and, while it runs, its processes.

use std::{
    fs::{self, OpenOptions},
    io,
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use parking_lot::Mutex;
use quorate_clock::Instant;

use super::{error::ClusterError, spawner};
use crate::netns::Net;

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
    /// The namespaces, where members have them.
    pub net: Option<Arc<Net>>,
    /// The program under test.
    pub quorate: PathBuf,
    /// The variables that are set for the process.
    pub environment: Vec<(String, String)>,
    /// The process, while it runs.
    pub process: Mutex<Option<Child>>,
    /// The ends of processes that nobody had ended.
    pub ended: Mutex<Vec<String>>,
    /// The reason why the member need not run or have the same state in the end.
    pub excused: Mutex<Option<String>>,
}

impl ClusterMember {
    /// Returns the member's place among the namespaces.
    pub fn place(&self) -> usize {
        self.id as usize - 1
    }

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

    /// A command that runs where the member does.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match &self.net {
            Some(net) => {
                let mut command = spawner::bound("nsenter");
                let namespace = net.namespace(self.place());
                command.arg(format!("--net=/run/netns/{namespace}"));
                command.arg("--").arg(program);
                command
            }
            None => {
                let mut command = spawner::bound("env");
                command.arg(program);
                command
            }
        };
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
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = self.command(&self.quorate);
        command
            .arg("server")
            .arg("--config")
            .arg(self.config())
            .args(flags)
            .envs(self.environment.iter().cloned())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: it can be stopped as a whole, and Ctrl-C doesn't reach it.
            .process_group(0);
        *process = Some(spawner::spawn(command)?);
        Ok(())
    }

    /// Notes the end of a process that ended by itself.
    fn reap(&self, process: &mut Option<Child>) {
        let status = process.as_mut().and_then(|child| child.try_wait().ok());
        if let Some(Some(status)) = status {
            self.ended.lock().push(status.to_string());
            *process = None;
        }
    }

    /// Returns the process id, while the process runs.
    pub fn pid(&self) -> Option<u32> {
        let mut process = self.process.lock();
        self.reap(&mut process);
        process.as_ref().map(Child::id)
    }

    /// Kills the process, and reaps it; gives whether it ran. The processes of its connectors end
    /// by themselves, as they should.
    pub fn kill(&self) -> bool {
        let mut process = self.process.lock();
        self.reap(&mut process);
        let Some(mut child) = process.take() else {
            return false;
        };
        let _ = child.kill();
        let _ = child.wait();
        true
    }

    /// Kills every process of the member, also those that are stopped.
    pub fn end(&self) {
        let mut process = self.process.lock();
        if let Some(mut child) = process.take() {
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
            let _ = child.kill();
            let _ = child.wait();
        }
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
        self.pid().map(children).unwrap_or_default()
    }
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.1 == parent))
        .collect()
}

/// Returns the state of a process (`T`: stopped) and its parent; `None` when it is gone.
pub fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything.
    let rest = text.rsplit_once(')')?.1;
    let mut words = rest.split_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.next()?.parse().ok()?))
}
