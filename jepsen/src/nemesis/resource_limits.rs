//! Limits of a member's processor, memory or disk by cgroups.
//!
//! They are of version 1 or 2, whichever is mounted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use quorate_testkit::scratch::gone;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    block_device,
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    kill::{VictimChoice, choose, start},
};
use crate::run_context::RunContext;

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "quorate-chaos-";

/// Resource that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedResource {
    /// The processor's time.
    Cpu,
    /// The memory. One that needs more is killed.
    Memory,
    /// The writes to the disk in a second.
    Disk,
}

/// Number of blocks that a probe writes, one after another, so that they last.
const PROBED: u32 = 8;

impl LimitedResource {
    fn controller(self, second: bool) -> &'static str {
        match (self, second) {
            (LimitedResource::Cpu, _) => "cpu",
            (LimitedResource::Memory, _) => "memory",
            (LimitedResource::Disk, false) => "blkio",
            (LimitedResource::Disk, true) => "io",
        }
    }

    /// Returns the folder of its groups, and whether those are of version 2.
    fn mounted(self) -> Option<(PathBuf, bool)> {
        let first = Path::new(ROOT).join(self.controller(false));
        if first.join("cgroup.procs").exists() {
            return Some((first, false));
        }
        let controllers = fs::read_to_string(Path::new(ROOT).join("cgroup.subtree_control"));
        let has = controllers
            .unwrap_or_default()
            .split_whitespace()
            .any(|it| it == self.controller(true));
        has.then(|| (PathBuf::from(ROOT), true))
    }

    /// Returns why the limit can't be had here.
    pub fn missing(self) -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("cgroups need root".to_owned());
        }
        let Some((root, second)) = self.mounted() else {
            let controller = self.controller(false);
            return Some(format!("no cgroup with {controller} is mounted"));
        };
        let throttle = root.join("blkio.throttle.write_iops_device");
        match self {
            LimitedResource::Disk if !second && !throttle.exists() => {
                Some("the kernel has no limits for disks".to_owned())
            }
            LimitedResource::Disk => super::requirements::disks(),
            _ => None,
        }
    }
}

fn no_group() -> NemesisError {
    NemesisError::NoEffect("there is no group".to_owned())
}

/// Limit of a member's resource.
pub struct ResourceLimit {
    what: LimitedResource,
    member: u64,
    group: Option<(PathBuf, bool)>,
    moved: Vec<(u32, PathBuf)>,
    /// Writes to the disk that are let through in a second.
    writes: u32,
    device: Option<String>,
}

/// Makes a limit of this resource.
pub fn new(what: LimitedResource) -> Box<dyn Nemesis> {
    Box::new(ResourceLimit {
        what,
        member: 0,
        group: None,
        moved: Vec::new(),
        writes: 0,
        device: None,
    })
}

#[async_trait]
impl Nemesis for ResourceLimit {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let whom = *[VictimChoice::Leader, VictimChoice::One]
            .choose(rng)
            .unwrap_or(&VictimChoice::One);
        let ids = choose(context, whom, rng).await?;
        self.member = ids[0];
        let member = context.cluster.member(self.member);
        let pid = member.pid();
        let pid = pid.ok_or(NemesisError::NotRunning(self.member))?;
        let pids: Vec<u32> = std::iter::once(pid).chain(member.connectors()).collect();
        let disk = context.cluster.disks[self.member as usize - 1].path();
        let limited = self.limit(&pids, disk, rng);
        let limited =
            limited.map_err(NemesisError::io("the group of processes can't be limited"))?;
        Ok(FaultTarget::new(&format!("{limited} for"), ids))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let (group, second) = self.group.as_ref().ok_or_else(no_group)?;
        let (file, word) = match (self.what, second) {
            (LimitedResource::Disk, _) => return self.disk_is_slow(context).await,
            (LimitedResource::Cpu, _) => ("cpu.stat", "nr_throttled"),
            (LimitedResource::Memory, false) => ("memory.failcnt", ""),
            (LimitedResource::Memory, true) => ("memory.events", "max"),
        };
        let text = fs::read_to_string(group.join(file)).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(word));
        let number = line.and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok());
        let ended = context.cluster.member(self.member).pid().is_none();
        match number {
            Some(times) if times > 0 => Ok(format!("{file}: {text:?}; ended: {ended}")),
            _ => Err(NemesisError::NoEffect(format!("{file} says {text:?}"))),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        self.lift();
        match self.member {
            0 => Ok(()),
            member => {
                if self.what == LimitedResource::Memory {
                    super::disk_faults::may_have_ended(context, &[member]);
                }
                Ok(start(context, &[member]).await?)
            }
        }
    }
}

impl ResourceLimit {
    /// Takes the limit away, and starts nobody.
    fn lift(&mut self) {
        let Some((group, second)) = self.group.take() else {
            return;
        };
        if let Some(device) = self.device.take() {
            // What waits already goes through at once.
            let _ = block_device::throttle(&group, &device, second, None);
        }
        for (pid, home) in self.moved.drain(..) {
            // Whoever is gone needs nothing.
            let _ = fs::write(home.join("cgroup.procs"), pid.to_string());
        }
        empty(&group);
    }

    /// Proves that writes in the group take at least as long as the limit says.
    async fn disk_is_slow(&self, context: &RunContext) -> Result<String, NemesisError> {
        let (group, _) = self.group.as_ref().ok_or_else(no_group)?;
        let disk = context.cluster.disks[self.member as usize - 1]
            .path()
            .to_owned();
        let group = group.clone();
        let wrote = move || block_device::writes(&group, &disk, PROBED);
        let took = tokio::task::spawn_blocking(wrote).await??;
        // The first ones may go through at once.
        let least = Duration::from_secs(1) * (PROBED - 2) / self.writes.max(1);
        let told = format!("{PROBED} writes took {} ms", took.as_millis());
        if took >= least {
            Ok(told)
        } else {
            Err(NemesisError::NoEffect(format!(
                "{told}, which is no longer than without a limit"
            )))
        }
    }

    fn limit(&mut self, pids: &[u32], disk: &Path, rng: &mut StdRng) -> io::Result<String> {
        let none = || io::Error::other("no such cgroup is mounted");
        let (root, second) = self.what.mounted().ok_or_else(none)?;
        sweep(&root);
        let name = format!("{PREFIX}{}-{}", std::process::id(), self.member);
        let group = root.join(name);
        fs::create_dir_all(&group)?;
        self.group = Some((group.clone(), second));
        let told = match self.what {
            LimitedResource::Cpu => {
                const PERIOD: u64 = 100_000;
                let percent = *[1, 2, 4].choose(rng).unwrap_or(&2);
                let quota = PERIOD * percent / 100;
                if second {
                    fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}"))?
                } else {
                    fs::write(group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
                    fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
                }
                format!("{percent} of 100 of one processor")
            }
            LimitedResource::Memory => {
                // A limit counts what is taken from now on: what it has stays with the old
                // group, so this is its room for growth.
                let bytes = rng.random_range(1_u64..=3) << 16;
                let file = if second {
                    "memory.max"
                } else {
                    "memory.limit_in_bytes"
                };
                fs::write(group.join(file), bytes.to_string())?;
                format!("{bytes} more bytes of memory")
            }
            LimitedResource::Disk => {
                let device = block_device::whole_disk(disk);
                let device = device.ok_or_else(|| io::Error::other("it is on no disk"))?;
                self.writes = *[20, 40, 80].choose(rng).unwrap_or(&40);
                block_device::throttle(&group, &device, second, Some(self.writes))?;
                self.device = Some(device);
                format!("{} writes a second to the disk", self.writes)
            }
        };
        for pid in pids {
            let home = home(*pid, self.what, second, &root);
            fs::write(group.join("cgroup.procs"), pid.to_string())?;
            self.moved.push((*pid, home));
        }
        Ok(told)
    }
}

/// The group that a process is in.
fn home(pid: u32, what: LimitedResource, second: bool, root: &Path) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mine = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let it = if second {
            controllers.is_empty()
        } else {
            controllers
                .split(',')
                .any(|it| it == what.controller(false))
        };
        it.then(|| path.trim_start_matches('/').to_owned())
    });
    root.join(mine.unwrap_or_default())
}

/// Lets every process out of a group, and removes it.
fn empty(group: &Path) {
    let Some(root) = group.parent() else {
        return;
    };
    for _ in 0..100 {
        let left = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let _ = fs::write(root.join("cgroup.procs"), pid);
        }
        if fs::remove_dir(group).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Removes the groups that processes have left which are gone.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'));
        if owner.is_some_and(|(pid, _)| gone(pid)) {
            empty(&entry.path());
        }
    }
}
