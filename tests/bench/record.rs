//! What all runs have measured so far, kept as JSON after every step, so that a run that
//! ends early loses nothing and another can add to it.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

use crate::{fault::Fault, plan::Case, trial::Measured};

/// The file.
pub const FILE: &str = "failover.json";

/// Everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub runs: Vec<Run>,
    pub series: Vec<Series>,
}

/// When and on what it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub began: String,
    pub ended: String,
    pub machine: String,
    pub isolated_hosts: bool,
    pub arguments: String,
    pub versions: BTreeMap<String, String>,
}

/// The trials of one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    pub system: String,
    pub setting: String,
    pub fault: Fault,
    /// Whether it is a lock that was waited for.
    pub lock: bool,
    pub trials: Vec<Measured>,
    /// Trials that measured nothing, with the reason.
    pub failures: Vec<String>,
}

impl Record {
    /// What the file holds; nothing when there is none.
    pub fn load(folder: &Path) -> Record {
        let Ok(text) = fs::read_to_string(folder.join(FILE)) else {
            return Record::default();
        };
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{FILE} can't be read: {e}"))
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, folder: &Path) {
        let text = serde_json::to_string_pretty(self).expect("JSON");
        replace(&folder.join(FILE), &text);
    }

    /// The series of a case, made when it isn't there.
    pub fn series(&mut self, case: &Case) -> &mut Series {
        let found = self.series.iter().position(|series| series.is_of(case));
        let at = found.unwrap_or_else(|| {
            self.series.push(Series {
                system: case.system().to_owned(),
                setting: case.setting(),
                fault: case.fault,
                lock: matches!(case.what, crate::plan::What::Lock(_)),
                trials: Vec::new(),
                failures: Vec::new(),
            });
            self.series.len() - 1
        });
        &mut self.series[at]
    }
}

impl Series {
    /// Whether these are the trials of this case.
    pub fn is_of(&self, case: &Case) -> bool {
        self.system == case.system() && self.setting == case.setting() && self.fault == case.fault
    }
}

impl Run {
    /// One that begins now.
    pub fn begin(isolated_hosts: bool, arguments: String) -> Run {
        Run {
            began: now(),
            ended: now(),
            machine: machine(),
            isolated_hosts,
            arguments,
            versions: versions(),
        }
    }
}

/// Writes a file, whole or not at all.
pub fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap_or_else(|e| panic!("{}: {e}", new.display()));
    fs::rename(&new, path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// The date and time, UTC.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(quorate_clock::wall_time()).to_string()
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let system = read("/etc/os-release");
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("");
    format!(
        "{} cores of {}, {} GiB, {}, Linux {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        field(&read("/proc/cpuinfo"), "model name"),
        (memory >> 20) + 1,
        system.trim_matches('"'),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

fn versions() -> BTreeMap<String, String> {
    let packages = [
        "etcd-server",
        "zookeeper",
        "redis-server",
        "redis-sentinel",
        "rabbitmq-server",
    ];
    let version = |package: &str| {
        let mut ask = Command::new("dpkg-query");
        let output = ask
            .args(["--show", "--showformat=${Version}", package])
            .output()
            .ok()?;
        Some((package.to_owned(), String::from_utf8(output.stdout).ok()?))
    };
    packages.into_iter().filter_map(version).collect()
}
