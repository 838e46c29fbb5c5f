//! The processes of a quickstart: their starts, their ends, their stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitStatus,
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_platform::{host_processes, port_binding};
use quorate_raft::Node;
use tokio::{sync::mpsc, time::sleep};

use super::{
    StopRequests, ending,
    folder::{QuickstartFolder, QuickstartMember},
    process_spec::ProcessSpec,
};
use crate::cli::error::CliError;

/// The time after which a stop is given up: a member ends within 10 s of SIGTERM.
const PATIENCE: Duration = Duration::from_secs(12);

/// The interval of the check for processes that were asked to end.
const LOOK: Duration = Duration::from_millis(50);

/// The interval of the search for processes that were started by hand.
const LOOK_AROUND: Duration = Duration::from_millis(500);

/// The end of a process, with its exit status where that is known.
pub(super) struct ProcessExit {
    /// The process that ended.
    pub process: ProcessSpec,
    /// `None` for a process that was not started here.
    pub status: Option<ExitStatus>,
}

/// The processes that were started here, and others that run on the folder.
pub(super) struct ProcessFleet {
    /// The folder.
    pub folder: QuickstartFolder,
    program: PathBuf,
    started: BTreeSet<u32>,
    others: BTreeMap<u32, ProcessSpec>,
    endings: mpsc::Receiver<(u32, ProcessExit)>,
    ended: mpsc::Sender<(u32, ProcessExit)>,
}

impl ProcessFleet {
    /// Makes a fleet in which nothing is started yet.
    pub(super) fn new(folder: QuickstartFolder) -> Result<ProcessFleet, CliError> {
        let program = std::env::current_exe().map_err(|error| {
            CliError::Refused(format!("can't find the program that is running: {error}"))
        })?;
        let (ended, endings) = mpsc::channel(64);
        Ok(ProcessFleet {
            folder,
            program,
            started: BTreeSet::new(),
            others: BTreeMap::new(),
            endings,
            ended,
        })
    }

    /// Starts the processes that do not run yet.
    pub(super) fn start(&mut self) -> Result<(), CliError> {
        let idle: BTreeSet<String> = self
            .folder
            .process_specs()
            .into_iter()
            .filter(|place| !place.runs())
            .map(|place| place.name)
            .collect();
        self.check_ports(&idle)?;
        let births = start_flags(&self.folder)?;
        // Until the members are ready the cluster can't say where it knows them.
        self.folder.remember(&BTreeMap::new());
        for place in self
            .folder
            .process_specs()
            .into_iter()
            .filter(|place| idle.contains(&place.name))
        {
            let flags = births.get(&place.name).cloned().unwrap_or_default();
            self.spawn(place, &flags)?;
        }
        self.look_around();
        Ok(())
    }

    /// Waits for the end of a process of the folder.
    pub(super) async fn next_exit(&mut self) -> ProcessExit {
        loop {
            tokio::select! {
                Some((pid, death)) = self.endings.recv() => {
                    self.started.remove(&pid);
                    return death;
                }
                () = sleep(LOOK_AROUND) => {
                    if let Some(place) = self.look_around() {
                        return ProcessExit { process: place, status: None };
                    }
                }
            }
        }
    }

    /// Ends all processes that run on the folder, started here or by hand, within a bound.
    pub(super) async fn stop(&mut self, again: &mut StopRequests) -> Result<(), CliError> {
        self.end(again, ProcessFleet::running).await
    }

    /// Ends only the processes that were started here.
    pub(super) async fn stop_own(&mut self, again: &mut StopRequests) -> Result<(), CliError> {
        self.end(again, ProcessFleet::own).await
    }

    async fn end(
        &mut self,
        again: &mut StopRequests,
        whom: fn(&ProcessFleet) -> BTreeSet<u32>,
    ) -> Result<(), CliError> {
        let deadline = Instant::now() + PATIENCE;
        let mut asked = BTreeSet::new();
        loop {
            // Looked for again each time: one that waited for a lock may only come up now.
            let running = whom(self);
            for pid in running.difference(&asked) {
                host_processes::send(*pid, Signal::SIGTERM);
                // A process that was stopped gets no signal before it goes on.
                host_processes::send(*pid, Signal::SIGCONT);
            }
            asked.extend(&running);
            if running.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = again.asked_again() => return kill(&running, "asked to stop a second time"),
            }
            if Instant::now() >= deadline {
                return kill(
                    &running,
                    &format!("not ended {} s after SIGTERM", PATIENCE.as_secs()),
                );
            }
        }
    }

    fn own(&self) -> BTreeSet<u32> {
        self.started
            .iter()
            .copied()
            .filter(|pid| host_processes::alive(*pid))
            .collect()
    }

    fn running(&self) -> BTreeSet<u32> {
        let found = self.folder.process_specs();
        self.own()
            .into_iter()
            .chain(found.iter().flat_map(ProcessSpec::pids))
            .collect()
    }

    /// Adopts processes that were started by hand; returns one that has ended.
    fn look_around(&mut self) -> Option<ProcessSpec> {
        for place in self.folder.process_specs() {
            for pid in place.pids().filter(|pid| !self.started.contains(pid)) {
                self.others.entry(pid).or_insert_with(|| place.clone());
            }
        }
        let gone = self
            .others
            .keys()
            .copied()
            .find(|pid| !host_processes::alive(*pid))?;
        // A second process on the same folder is refused and ends; the member goes on.
        self.others.remove(&gone).filter(|place| !place.runs())
    }

    /// Reports taken ports before anything is started.
    fn check_ports(&self, idle: &BTreeSet<String>) -> Result<(), CliError> {
        let mut taken = Vec::new();
        for (who, what, bind) in self
            .folder
            .binds()
            .into_iter()
            .filter(|(who, ..)| idle.contains(who))
        {
            if let Err(error) = port_binding::listen(&format!("{who}, {what}"), bind) {
                taken.push(error.to_string());
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        Err(CliError::Refused(format!(
            "{}\nEnd what holds them, or use a folder of its own with other ports: --dir DIR --port-offset N",
            taken.join("\n")
        )))
    }

    fn spawn(&mut self, place: ProcessSpec, flags: &[String]) -> Result<(), CliError> {
        let start_error = |error| CliError::Refused(format!("can't start {}: {error}", place.name));
        let mut child = place.start(&self.program, flags).map_err(start_error)?;
        let Some(pid) = child.id() else {
            return Err(start_error(std::io::Error::other("it ended at once")));
        };
        self.started.insert(pid);
        let (place, ended) = (place.clone(), self.ended.clone());
        tokio::spawn(async move {
            let status = child.wait().await.ok();
            // No process listens any more while everything is being stopped.
            let _ = ended
                .send((
                    pid,
                    ProcessExit {
                        process: place,
                        status,
                    },
                ))
                .await;
        });
        Ok(())
    }
}

fn kill(running: &BTreeSet<u32>, why: &str) -> Result<(), CliError> {
    for pid in running {
        host_processes::send(*pid, Signal::SIGKILL);
    }
    let list = running
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    Err(CliError::Refused(format!(
        "killed with SIGKILL ({why}): process {list}"
    )))
}

/// Returns the flags that each member needs, by name. Only where no member has ever been part of a
/// cluster is there one to be made. A member that has been goes on as it is; where it may not find
/// the others it gets their URLs. Not always: none of them answers before it is up itself, so
/// asking takes seconds.
fn start_flags(folder: &QuickstartFolder) -> Result<BTreeMap<String, Vec<String>>, CliError> {
    let known = folder
        .members
        .iter()
        .map(has_marker)
        .collect::<Result<Vec<_>, _>>()?;
    let newborn = !known.contains(&true);
    let moved = folder.may_have_moved();
    let births = folder
        .members
        .iter()
        .zip(known)
        .enumerate()
        .map(|(at, (member, known))| {
            let others = folder.admin_urls(Some(&member.name)).join(",");
            let flags = match known {
                false if newborn && at == 0 => vec!["--bootstrap".to_owned()],
                true if !moved || others.is_empty() => vec![],
                _ => vec!["--join".to_owned(), others],
            };
            (member.name.clone(), flags)
        });
    Ok(births.collect())
}

fn has_marker(member: &QuickstartMember) -> Result<bool, CliError> {
    let marker = Node::marker(&member.settings.data_dir);
    marker
        .map(|found| found.is_some())
        .map_err(|error| CliError::Refused(format!("{}: {error}", member.name)))
}

/// Makes the error of an end before everything was ready, with the end of the log as its cause.
pub(super) fn early_exit_error(death: ProcessExit) -> CliError {
    let ProcessExit {
        process: place,
        status,
    } = death;
    let (how, log, tail) = (ending(status), place.log.display(), place.tail());
    CliError::Refused(format!("{} {how}. The end of {log}:\n{tail}", place.name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::quickstart::QuickstartArgs;

    #[test]
    fn first_member_bootstraps_and_others_join() {
        let dir = tempfile::tempdir().unwrap();
        let args = QuickstartArgs {
            dir: dir.path().to_owned(),
            members: 3,
            no_balancer: true,
            port_offset: 0,
            secure: false,
        };
        let births = start_flags(&QuickstartFolder::prepare(&args).unwrap()).unwrap();
        assert_eq!(births["member-1"], ["--bootstrap"]);
        assert_eq!(
            births["member-2"],
            ["--join", "http://127.0.0.1:17110,http://127.0.0.1:17112"]
        );
        assert_eq!(births["member-3"][0], "--join");
    }

    #[test]
    fn a_place_is_known_by_its_command_line() {
        let place = ProcessSpec {
            name: "member-1".into(),
            subcommand: "server",
            config: Path::new("/nowhere/quorate.toml").to_owned(),
            log: Path::new("/nowhere/quorate.log").to_owned(),
        };
        assert!(!place.runs());
        assert_eq!(place.tail(), "");
    }
}
