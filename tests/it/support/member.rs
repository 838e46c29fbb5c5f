//! One member as a process of the real binary.

use std::{
    fs::{self, File, OpenOptions},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_clock::Instant;

use super::{netns::Net, ports};

/// The binary under test.
pub const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// The program of `examples/embedded.rs`, which is built along with the tests.
pub fn embedding_program() -> PathBuf {
    let folder = Path::new(QUORATE).parent().expect("a folder");
    let program = folder.join("examples/embedded");
    assert!(
        program.is_file(),
        "no {program:?}: run `cargo build --workspace --examples`"
    );
    program
}

/// Where a member runs, if not on the loopback.
#[derive(Clone)]
pub struct Place {
    pub net: Arc<Net>,
    /// Which namespace, counted from 0.
    pub n: usize,
}

/// A member's folder, addresses and, while it runs, its process.
pub struct Member {
    pub name: String,
    pub dir: PathBuf,
    pub http: u16,
    pub admin: u16,
    pub peer: u16,
    pub ip: Ipv4Addr,
    place: Option<Place>,
    /// Started in place of the binary: a program that embeds a member, with this variable.
    pub embedding: Option<(PathBuf, (&'static str, String))>,
    child: Option<Child>,
}

impl Member {
    /// Writes a member's configuration; starts nothing.
    pub fn new(root: &Path, n: usize, failover_ms: u64, extra: &str) -> Member {
        Member::new_at(None, root, n, failover_ms, extra)
    }

    /// The same in a namespace of its own.
    pub fn new_at(
        place: Option<Place>,
        root: &Path,
        n: usize,
        failover_ms: u64,
        extra: &str,
    ) -> Member {
        let ip = place.as_ref().map(|place| place.net.address(place.n));
        // Beyond the loopback a member has to be told that it may.
        let insecure = if ip.is_some() {
            "insecure = true\n"
        } else {
            ""
        };
        let ip = ip.unwrap_or(Ipv4Addr::LOCALHOST);
        let dir = root.join(format!("member-{n}"));
        fs::create_dir_all(&dir).expect("the member's folder");
        let member = Member {
            name: format!("member-{n}"),
            http: ports::free(),
            admin: ports::free(),
            peer: ports::free(),
            dir,
            ip,
            place,
            embedding: None,
            child: None,
        };
        let config = format!(
            "name = \"{}\"\ndata_dir = \"data\"\nfailover_ms = {failover_ms}\npid_file = \"pid\"\n\
             ibm_mq.libraries = [\"/**\"]\n\
             {insecure}http.bind = \"{ip}:{}\"\nadmin.bind = \"{ip}:{}\"\npeer.bind = \"{ip}:{}\"\n{extra}\n",
            member.name, member.http, member.admin, member.peer
        );
        fs::write(member.config(), config).expect("the member's configuration");
        member
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("quorate.toml")
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.ip, self.admin)
    }

    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.ip, self.http)
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("quorate.log")
    }

    /// Starts the process; its output is appended to its log.
    pub fn start(&mut self, flags: &[&str]) {
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("the log");
        self.start_saying_to(flags, log.into());
    }

    /// Starts the process with another stderr.
    pub fn start_saying_to(&mut self, flags: &[&str], err: Stdio) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let mut command = match (&self.embedding, &self.place) {
            (Some((program, (name, value))), _) => {
                let mut command = Command::new(program);
                command.env(name, value);
                command
            }
            (None, Some(place)) => place.net.command(place.n, QUORATE),
            (None, None) => Command::new(QUORATE),
        };
        if self.embedding.is_none() {
            command.arg("server").arg("--config");
        }
        let child = command
            .arg(self.config())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(err)
            .spawn()
            .expect("the member's process");
        self.child = Some(child);
    }

    pub fn running(&self) -> bool {
        self.child.is_some()
    }

    pub fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("a running member");
        Pid::from_raw(child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("a signal");
    }

    /// kill -9, and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for the process to end by itself.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        let mut child = self.child.take().expect("a running member");
        loop {
            if let Some(status) = child.try_wait().expect("the member's status") {
                return status;
            }
            if start.elapsed() > limit {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{} did not end within {limit:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit(Duration::from_secs(10))
    }

    /// The last lines of the log, for a failing test.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.name, self.log_tail());
        }
        self.kill();
    }
}
