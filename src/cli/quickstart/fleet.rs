//! The processes of a quickstart: starts them, hears of their ends, stops them.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{process::Command, sync::mpsc, time::Instant};

use super::{Stop, ending, folder::Folder, folder::Member};
use crate::{
    cli::failure::Failure,
    host::{ports, process},
};
use quorate_raft::Node;

/// A member ends within 10 s of SIGTERM; then the waiting is over.
const PATIENCE: Duration = Duration::from_secs(12);

/// How often it is looked at whether processes have ended.
const LOOK: Duration = Duration::from_millis(50);

/// What was started, and what else runs on the folder.
pub struct Fleet {
    /// Where it all is.
    pub folder: Folder,
    program: PathBuf,
    started: BTreeSet<u32>,
    endings: mpsc::Receiver<(String, u32, ExitStatus)>,
    ended: mpsc::Sender<(String, u32, ExitStatus)>,
}

impl Fleet {
    /// Nothing is started yet.
    pub fn new(folder: Folder) -> Result<Fleet, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::Refused(format!("can't find the program that is running: {error}"))
        })?;
        let (ended, endings) = mpsc::channel(64);
        Ok(Fleet {
            folder,
            program,
            started: BTreeSet::new(),
            endings,
            ended,
        })
    }

    /// Starts whatever does not run yet.
    pub async fn start(&mut self) -> Result<(), Failure> {
        let idle: Vec<Member> = self
            .folder
            .members
            .iter()
            .filter(|member| !runs(member))
            .cloned()
            .collect();
        self.check_ports(&idle)?;
        let known: Vec<bool> = self
            .folder
            .members
            .iter()
            .map(has_marker)
            .collect::<Result<_, _>>()?;
        // Only where no member has ever been part of a cluster is there one to be made.
        let newborn = !known.contains(&true);
        let first = self.folder.members[0].name.clone();
        for member in &idle {
            let others = self.folder.admin_urls(Some(&member.name)).join(",");
            let birth = match has_marker(member)? {
                true => vec![],
                false if newborn && member.name == first => vec!["--bootstrap".to_owned()],
                false => vec!["--join".to_owned(), others],
            };
            let (config, log) = (member.config.clone(), member.log.clone());
            self.spawn(&member.name, "server", &config, &log, &birth)?;
        }
        if let Some(balancer) = self.folder.balancer.clone()
            && process::all().all(|pid| !process::runs(pid, "balancer", &balancer.config))
        {
            self.spawn(
                "the balancer",
                "balancer",
                &balancer.config,
                &balancer.log,
                &[],
            )?;
        }
        Ok(())
    }

    /// Waits for the end of a process that was started here.
    pub async fn death(&mut self) -> (String, ExitStatus) {
        match self.endings.recv().await {
            Some((who, pid, status)) => {
                self.started.remove(&pid);
                (who, status)
            }
            // Can't be: this value holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Ends whatever runs on the folder, started here or by hand, within a bound.
    pub async fn stop(&mut self, again: &mut Stop) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut asked = BTreeSet::new();
        loop {
            // Looked for again each time: one that waited for a lock may only come up now.
            let running = self.running();
            for pid in running.difference(&asked) {
                process::send(*pid, Signal::SIGTERM);
            }
            asked.extend(&running);
            if running.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = again.asked() => return self.kill("asked to stop a second time"),
            }
            if Instant::now() >= deadline {
                return self.kill(&format!("not ended {} s after SIGTERM", PATIENCE.as_secs()));
            }
        }
    }

    fn kill(&self, why: &str) -> Result<(), Failure> {
        let running = self.running();
        for pid in &running {
            process::send(*pid, Signal::SIGKILL);
        }
        let list = running
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        Err(Failure::Refused(format!(
            "killed with SIGKILL ({why}): process {list}"
        )))
    }

    /// The processes of the folder: known by their command line, never by their id alone.
    fn running(&self) -> BTreeSet<u32> {
        let mut running: BTreeSet<u32> = self
            .started
            .iter()
            .copied()
            .filter(|pid| process::alive(*pid))
            .collect();
        for pid in process::all() {
            let member = self
                .folder
                .members
                .iter()
                .any(|member| process::runs(pid, "server", &member.config));
            let balancer = self
                .folder
                .balancer
                .iter()
                .any(|it| process::runs(pid, "balancer", &it.config));
            if (member || balancer) && process::alive(pid) && pid != std::process::id() {
                running.insert(pid);
            }
        }
        running
    }

    /// Tells of taken ports before anything is started.
    fn check_ports(&self, idle: &[Member]) -> Result<(), Failure> {
        let mut taken = Vec::new();
        for member in idle {
            let settings = &member.settings;
            for (what, face) in [
                ("http", &settings.http),
                ("admin", &settings.admin),
                ("peer", &settings.peer),
            ] {
                if let Err(error) = ports::listen(&format!("{}, {what}", member.name), face.bind) {
                    taken.push(error.to_string());
                }
            }
        }
        if let Some(balancer) = &self.folder.balancer
            && process::all().all(|pid| !process::runs(pid, "balancer", &balancer.config))
            && let Err(error) = ports::listen("the balancer", balancer.bind)
        {
            taken.push(error.to_string());
        }
        if taken.is_empty() {
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "{}\nEnd what holds them, or use a folder of its own with other ports: --dir DIR --port-offset 100",
            taken.join("\n")
        )))
    }

    fn spawn(
        &mut self,
        who: &str,
        subcommand: &str,
        config: &Path,
        log: &Path,
        flags: &[String],
    ) -> Result<(), Failure> {
        let told = |error: std::io::Error| Failure::Refused(format!("can't start {who}: {error}"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(told)?;
        let mut command = Command::new(&self.program);
        command
            .arg(subcommand)
            .arg("--config")
            .arg(config)
            .args(flags);
        // The folder's files say everything; a variable would go to all members alike.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_"))
        {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(told)?)
            .stderr(out)
            // Ctrl-C is for this process; it stops the others in an orderly way.
            .process_group(0);
        let mut child = command.spawn().map_err(told)?;
        let Some(pid) = child.id() else {
            return Err(told(std::io::Error::other("it ended at once")));
        };
        self.started.insert(pid);
        let (who, ended) = (who.to_owned(), self.ended.clone());
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                let _ = ended.send((who, pid, status)).await;
            }
        });
        Ok(())
    }
}

/// Whether a process runs on a member's settings.
fn runs(member: &Member) -> bool {
    process::all().any(|pid| process::runs(pid, "server", &member.config) && process::alive(pid))
}

fn has_marker(member: &Member) -> Result<bool, Failure> {
    let marker = Node::marker(&member.settings.data_dir);
    marker
        .map(|found| found.is_some())
        .map_err(|error| Failure::Refused(format!("{}: {error}", member.name)))
}

/// A death before everything was ready, with the end of the log that says why.
pub fn untimely(folder: &Folder, who: &str, status: ExitStatus) -> Failure {
    let log = folder
        .members
        .iter()
        .find(|member| member.name == who)
        .map(|member| &member.log)
        .or(folder.balancer.as_ref().map(|balancer| &balancer.log));
    let tail = log
        .map(|log| format!(". The end of {}:\n{}", log.display(), tail(log)))
        .unwrap_or_default();
    Failure::Refused(format!("{who} {}{tail}", ending(status)))
}

/// The last lines of a file.
fn tail(file: &Path) -> String {
    const LINES: usize = 15;
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(64 << 10)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect()
}
