//! Disks that fail: power that is cut, a disk that is full, an fsync that fails.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    kill::{VictimChoice, choose, start},
    wall_clock::switch,
};
use crate::{
    cluster::{disk, shim},
    run_context::RunContext,
};

/// Time limit for a member whose sync has failed to end; one that goes on is left alone.
const DYING: Duration = Duration::from_secs(5);
/// Time limit after its disk was full, which it need not have noticed.
const DYING_FULL: Duration = Duration::from_secs(1);

/// Cuts the power: what was not synced by then is gone.
#[derive(Default)]
pub struct PowerCut {
    lost: Vec<u64>,
    seen: Vec<String>,
}

#[async_trait]
impl Nemesis for PowerCut {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let whom = match rng.random_range(0..10) {
            0..=1 => VictimChoice::One,
            2..=3 => VictimChoice::Leader,
            4..=5 => VictimChoice::Majority,
            _ => VictimChoice::All,
        };
        let ids = choose(context, whom, rng).await?;
        let godown = shim::build_godown(context.cluster.scratch());
        let godown = godown.map_err(NemesisError::io(
            "the program that cuts power can't be built",
        ))?;
        for id in &ids {
            let path = context.cluster.disks[*id as usize - 1].path();
            // With the process, so that it tells nobody of a sync that ended after the cut.
            let cut = context.cluster.member(*id).end_by(|group| {
                let group = group.map(|it| it.to_string());
                disk::run(Command::new(&godown).arg(path).args(group))
            });
            cut.map_err(NemesisError::io("the power can't be cut"))?;
            self.lost.push(*id);
            match File::create(path.join("probe")).and_then(|mut it| it.write_all(b"x")) {
                Ok(()) => {
                    let seen = format!("the disk of member {id} still works");
                    return Err(NemesisError::NotPossible(seen));
                }
                Err(error) => self.seen.push(error.to_string()),
            }
        }
        Ok(FaultTarget::new("power cut of", ids))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let alive = |id: &&u64| context.cluster.member(**id).pid().is_some();
        match self.lost.iter().find(alive) {
            Some(id) => Err(NemesisError::NoEffect(format!("member {id} runs"))),
            None => Ok(format!("no process, and the disks say {:?}", self.seen)),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        for id in &self.lost {
            // Another nemesis may have started it on the dead disk.
            context.cluster.member(*id).end();
            may_have_ended(context, &[*id]);
            let disk = &context.cluster.disks[*id as usize - 1];
            unmount(disk).await?;
            let mounted = disk.mount();
            mounted.map_err(NemesisError::io("the disk can't be mounted"))?;
        }
        Ok(start(context, &self.lost).await?)
    }
}

/// Forgives members that they have ended by themselves, which is right while their disk fails, if
/// they did so in an orderly way. One that was aborted, since it could not even say so, ended by a
/// signal.
pub fn may_have_ended(context: &RunContext, ids: &[u64]) {
    for id in ids {
        let member = context.cluster.member(*id);
        if member.pid().is_none() {
            member.ended.lock().retain(|it| it.contains("signal"));
        }
    }
}

/// Unmounts a disk, which the last process of a killed member may hold for a moment.
async fn unmount(disk: &disk::MemberDisk) -> Result<(), NemesisError> {
    let mut tried = disk.unmount();
    for _ in 0..100 {
        if tried.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        tried = disk.unmount();
    }
    tried.map_err(NemesisError::io("the disk can't be unmounted"))
}

/// Disk that is filled.
#[derive(Default)]
pub struct FullDisk {
    filled: Vec<(u64, PathBuf)>,
}

#[async_trait]
impl Nemesis for FullDisk {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let whom = *[
            VictimChoice::Leader,
            VictimChoice::One,
            VictimChoice::Majority,
        ]
        .choose(rng)
        .unwrap_or(&VictimChoice::One);
        let ids = choose(context, whom, rng).await?;
        for id in &ids {
            let filler = context.cluster.disks[*id as usize - 1]
                .path()
                .join("filler");
            self.filled.push((*id, filler.clone()));
            fill(&filler).map_err(NemesisError::io("the disk can't be filled"))?;
        }
        Ok(FaultTarget::new("filled the disk of", ids))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        for (id, filler) in &self.filled {
            let probe = filler.with_file_name("probe");
            let written = fs::write(&probe, [1; 8192]);
            let _ = fs::remove_file(&probe);
            match written {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                other => {
                    return Err(NemesisError::NoEffect(format!("member {id}: {other:?}")));
                }
            }
        }
        let ended = |id: &u64| context.cluster.member(*id).pid().is_none();
        let ids = self.filled.iter().map(|(id, _)| *id);
        let ended: Vec<u64> = ids.filter(ended).collect();
        Ok(format!("no room; ended by themselves so far: {ended:?}"))
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        for (_, filler) in &self.filled {
            let _ = fs::remove_file(filler);
        }
        let ids: Vec<u64> = self.filled.iter().map(|(id, _)| *id).collect();
        for id in &ids {
            context.cluster.member(*id).ends_within(DYING_FULL).await;
        }
        may_have_ended(context, &ids);
        Ok(start(context, &ids).await?)
    }
}

/// Writes until there is no room, in the end by pages.
fn fill(filler: &PathBuf) -> io::Result<()> {
    let mut file = File::create(filler)?;
    let zeros = vec![0; 1 << 20];
    let mut size = zeros.len();
    while size >= 4096 {
        match file.write_all(&zeros[..size]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => size /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn failures(switch: &shim::ShimSwitch) -> Result<i64, NemesisError> {
    let failed = switch.failed();
    failed.map_err(NemesisError::io("the switch of the library can't be read"))
}

fn fail(switch: &shim::ShimSwitch, errno: i64) -> Result<(), NemesisError> {
    let set = switch.sync_errno(errno);
    set.map_err(NemesisError::io(
        "the switch of the library can't be written",
    ))
}

/// Sync that fails.
#[derive(Default)]
pub struct FsyncFailure {
    /// The number of failed syncs of each member before the fault.
    before: Vec<(u64, i64)>,
}

#[async_trait]
impl Nemesis for FsyncFailure {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        const EIO: i64 = 5;
        let whom = *[
            VictimChoice::Leader,
            VictimChoice::One,
            VictimChoice::Majority,
        ]
        .choose(rng)
        .unwrap_or(&VictimChoice::One);
        let ids = choose(context, whom, rng).await?;
        for id in &ids {
            let switch = switch(context, *id)?;
            self.before.push((*id, failures(switch)?));
            fail(switch, EIO)?;
        }
        Ok(FaultTarget::new("fsync fails at", ids))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let mut times = Vec::new();
        for (id, before) in &self.before {
            times.push(failures(switch(context, *id)?)? - before);
        }
        if times.iter().any(|count| *count > 0) {
            Ok(format!("failed so often: {times:?}"))
        } else {
            Err(NemesisError::NoEffect("none has failed yet".to_owned()))
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        for (id, _) in &self.before {
            fail(switch(context, *id)?, 0)?;
        }
        for (id, before) in &self.before {
            // Whom it has met ends, and may still be about to.
            if failures(switch(context, *id)?)? > *before {
                context.cluster.member(*id).ends_within(DYING).await;
            }
        }
        let ids: Vec<u64> = self.before.iter().map(|(id, _)| *id).collect();
        may_have_ended(context, &ids);
        Ok(start(context, &ids).await?)
    }
}
