//! Server process of a peer: on its host, ended with this process, started again as it was.

use std::{path::PathBuf, time::Duration};

use quorate_testkit::{
    eventually::TimedOut,
    ports,
    process::{self, ChildProcess},
};

use crate::hosts::Hosts;

/// One server.
pub struct ServerProcess {
    hosts: Hosts,
    host: usize,
    dir: PathBuf,
    program: Vec<String>,
    process: Option<ChildProcess>,
}

impl ServerProcess {
    /// `program` with its arguments, run in `dir`; starts nothing yet.
    pub fn new(hosts: &Hosts, host: usize, dir: PathBuf, program: Vec<String>) -> ServerProcess {
        std::fs::create_dir_all(&dir).expect("its folder");
        ServerProcess {
            hosts: hosts.clone(),
            host,
            dir,
            program,
            process: None,
        }
    }

    /// Starts it; what it says is appended to `out` in its folder.
    pub fn start(&mut self) {
        let mut command = self.hosts.host(self.host).command(&self.program[0]);
        command.args(&self.program[1..]).current_dir(&self.dir);
        process::logged(&mut command, &self.dir.join("out")).expect("its log");
        self.process = Some(ChildProcess::spawn(command).expect("can't start a process"));
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").pid()
    }

    /// Waits for its end, which has been asked for.
    pub fn ended(&mut self, limit: Duration) -> Result<(), TimedOut> {
        let mut process = self.process.take().expect("it runs");
        let ended = tokio::task::block_in_place(|| process.wait_within(limit));
        ended.map(drop).ok_or_else(|| TimedOut {
            what: format!("the end of process {}", process.pid()),
            limit,
            seen: "it still runs".into(),
        })
    }
}

/// `address:port` with a free port for a host.
pub fn free_address(hosts: &Hosts, host: usize) -> String {
    format!("{}:{}", hosts.host(host).address(), ports::free())
}
