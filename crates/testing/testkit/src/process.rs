//! Processes that tests start, each killed and reaped with what started it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_clock::Instant;

/// Makes a command whose process the kernel kills when this one ends, however it ends.
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Gives a command no input, and appends all that its process says to a file.
pub fn logged<'a>(command: &'a mut Command, log: &Path) -> io::Result<&'a mut Command> {
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    let both = log.try_clone()?;
    Ok(command.stdin(Stdio::null()).stdout(both).stderr(log))
}

/// A child process; killed and reaped when it is dropped.
#[derive(Debug)]
pub struct ChildProcess(Child);

impl ChildProcess {
    /// Starts it. The kernel kills what is [`bound`] with the thread that started it, so all are
    /// started by one thread that never ends: a runtime's worker may end before its program.
    pub fn spawn(command: Command) -> io::Result<ChildProcess> {
        type Request = (Command, mpsc::SyncSender<io::Result<Child>>);
        static REQUESTS: OnceLock<mpsc::SyncSender<Request>> = OnceLock::new();
        let requests = REQUESTS.get_or_init(|| {
            let (requests, received) = mpsc::sync_channel::<Request>(64);
            std::thread::spawn(move || {
                for (mut command, reply) in received {
                    let _ = reply.send(command.spawn());
                }
            });
            requests
        });
        let (reply, answer) = mpsc::sync_channel(1);
        let gone = || io::Error::other("the thread that starts processes is gone");
        requests.send((command, reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?.map(ChildProcess)
    }

    /// Returns its id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Gives the pipe of its input, once and where the command asked for one.
    pub fn input(&mut self) -> ChildStdin {
        self.0.stdin.take().expect("a pipe")
    }

    /// Gives the pipe of its output, once and where the command asked for one.
    pub fn output(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("a pipe")
    }

    /// Gives the lines of its output, once and where the command asked for a pipe.
    pub fn lines(&mut self) -> impl Iterator<Item = String> + Send + use<> {
        lines(self.output())
    }

    /// Gives the lines of its standard error, likewise.
    pub fn error_lines(&mut self) -> impl Iterator<Item = String> + Send + use<> {
        lines(self.0.stderr.take().expect("a pipe"))
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        self::signal(self.pid(), signal);
    }

    /// Gives its status when it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child of this process")
    }

    /// Waits for its end; `None` when it did not end in time.
    pub fn wait_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status();
            if status.is_some() || Instant::now() > deadline {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it by SIGTERM to end, and waits for that; `None` when it did not end in time.
    pub fn stop_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.status().is_none() {
            self.signal(Signal::SIGTERM);
        }
        self.wait_within(limit)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines<R: Read>(from: R) -> impl Iterator<Item = String> + use<R> {
    BufReader::new(from).lines().map_while(Result::ok)
}

/// Sends a signal to a process that must be there.
pub fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("a process");
}

/// Sends a signal to each process; one that is gone already gets none.
pub fn send(signal: Signal, to: &[u32]) {
    for pid in to {
        let _ = kill(Pid::from_raw(*pid as i32), signal);
    }
}

/// What the kernel tells of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// `T`: stopped; `Z` and `X`: dead, and not reaped yet.
    pub state: char,
    /// The parent's id.
    pub parent: u32,
    /// The processor time so far, in ticks of 10 ms.
    pub ticks: u64,
}

/// Looks a process up; `None` when it is gone.
pub fn stat(pid: u32) -> Option<ProcessStat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything.
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| words.get(n)?.parse::<u64>().ok();
    Some(ProcessStat {
        state: words.first()?.chars().next()?,
        parent: number(1)? as u32,
        ticks: number(11)? + number(12)?,
    })
}

/// Returns whether a process is there and has not died.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !['Z', 'X'].contains(&stat.state))
}

/// Returns the processes whose parent this is.
pub fn children(parent: u32) -> Vec<u32> {
    parents()
        .into_iter()
        .filter_map(|(pid, of)| (of == parent).then_some(pid))
        .collect()
}

/// Returns a process and all that descend from it, parents first.
pub fn family(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut family = vec![root];
    let mut looked = 0;
    while let Some(parent) = family.get(looked).copied() {
        let children = parents.iter().filter(|(_, of)| **of == parent);
        family.extend(children.map(|(child, _)| *child));
        looked += 1;
    }
    family
}

/// The parent of every process.
fn parents() -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?.parent))
        })
        .collect()
}

/// Returns when a process had died, as the time since `begun`. Drop it to give up.
pub async fn died(pid: u32, begun: Instant) -> Duration {
    // One that nobody has reaped yet has let go of everything.
    while is_alive(pid) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    begun.elapsed()
}
