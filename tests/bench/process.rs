//! A server process of a peer: on its host, ended with this process, started again as it
//! was.

use std::{
    fs::OpenOptions,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use nix::unistd::Pid;
use quorate_clock::Instant;

use crate::{hosts::Hosts, support::ports};

/// Asks the one thread that starts processes: the kernel kills a process with the thread
/// that started it, and this one never ends.
pub fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::SyncSender<std::io::Result<Child>>);
    static ORDERS: OnceLock<mpsc::SyncSender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = mpsc::sync_channel::<Order>(1);
        std::thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, child) = mpsc::sync_channel(1);
    orders
        .send((command, reply))
        .expect("the thread that starts processes");
    child
        .recv()
        .expect("an answer")
        .expect("can't start a process")
}

/// A command that starts what the kernel kills when this process ends.
pub fn bound(hosts: &Hosts, host: usize, program: &str) -> Command {
    let mut command = hosts.command(host, "setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// One process.
pub struct Process {
    hosts: Hosts,
    host: usize,
    dir: PathBuf,
    program: Vec<String>,
    child: Option<Child>,
}

impl Process {
    /// `program` with its arguments, run in `dir`; starts nothing yet.
    pub fn new(hosts: &Hosts, host: usize, dir: PathBuf, program: Vec<String>) -> Process {
        std::fs::create_dir_all(&dir).expect("its folder");
        Process {
            hosts: hosts.clone(),
            host,
            dir,
            program,
            child: None,
        }
    }

    /// The host that it runs on.
    pub fn host(&self) -> usize {
        self.host
    }

    /// Starts it; what it says is appended to `out` in its folder.
    pub fn start(&mut self) {
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("out"));
        let out = out.expect("its log");
        let mut command = bound(&self.hosts, self.host, &self.program[0]);
        command
            .args(&self.program[1..])
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
            .stdout(out.try_clone().expect("its log"))
            .stderr(out);
        self.child = Some(spawn(command));
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().expect("it runs").id() as i32)
    }

    /// Whether it runs as far as is known.
    pub fn running(&self) -> bool {
        self.child.is_some()
    }

    /// Waits for its end, which has been asked for.
    pub async fn ended(&mut self, limit: Duration) -> Result<(), String> {
        let start = Instant::now();
        let child = self.child.as_mut().expect("it runs");
        while child.try_wait().map_err(|e| e.to_string())?.is_none() {
            if start.elapsed() > limit {
                return Err(format!(
                    "process {} did not end within {limit:?}",
                    child.id()
                ));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.child = None;
        Ok(())
    }

    /// Kills and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `address:port` with a free port for a host.
pub fn free_address(hosts: &Hosts, host: usize) -> String {
    format!("{}:{}", hosts.address(host), ports::free())
}
