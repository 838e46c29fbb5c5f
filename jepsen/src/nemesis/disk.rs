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
    clock::switch,
    contract::{Nemesis, Target},
    kill::{Whom, choose, start},
};
use crate::{
    cluster::{disk, shim},
    run_context::Bed,
};

/// How long a member whose sync has failed may take to end; one that goes on is left alone.
const DYING: Duration = Duration::from_secs(5);
/// The same after its disk was full, which it need not have noticed.
const DYING_FULL: Duration = Duration::from_secs(1);

/// Cuts the power: what was not synced by then is gone.
#[derive(Default)]
pub struct Power {
    lost: Vec<u64>,
    seen: Vec<String>,
}

#[async_trait]
impl Nemesis for Power {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, String> {
        let whom = match dice.random_range(0..10) {
            0..=1 => Whom::One,
            2..=3 => Whom::Leader,
            4..=5 => Whom::Majority,
            _ => Whom::All,
        };
        let ids = choose(bed, whom, dice).await?;
        let godown = shim::build_godown(bed.cluster.scratch()).map_err(told)?;
        for id in &ids {
            let path = bed.cluster.disks[*id as usize - 1].path();
            disk::run(Command::new(&godown).arg(path)).map_err(told)?;
            self.lost.push(*id);
            match File::create(path.join("probe")).and_then(|mut it| it.write_all(b"x")) {
                Ok(()) => return Err(format!("the disk of member {id} still works")),
                Err(error) => self.seen.push(error.to_string()),
            }
        }
        for id in &ids {
            bed.cluster.member(*id).end();
        }
        Ok(Target::of("power cut of", ids))
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, String> {
        let alive = |id: &&u64| bed.cluster.member(**id).pid().is_some();
        match self.lost.iter().find(alive) {
            Some(id) => Err(format!("member {id} runs")),
            None => Ok(format!("no process, and the disks say {:?}", self.seen)),
        }
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), String> {
        for id in &self.lost {
            // Another nemesis may have started it on the dead disk.
            bed.cluster.member(*id).end();
            may_have_ended(bed, &[*id]);
            let disk = &bed.cluster.disks[*id as usize - 1];
            unmount(disk).await?;
            disk.mount().map_err(told)?;
        }
        start(bed, &self.lost).await
    }
}

fn told(error: io::Error) -> String {
    error.to_string()
}

/// That members end by themselves is right while their disk fails: it is not held against them,
/// if they did so in an orderly way. One that was aborted, since it could not even say so,
/// ended by a signal.
pub fn may_have_ended(bed: &Bed, ids: &[u64]) {
    for id in ids {
        let member = bed.cluster.member(*id);
        if member.pid().is_none() {
            member.ended.lock().retain(|it| it.contains("signal"));
        }
    }
}

/// The last process of a member that was killed may hold it for a moment.
async fn unmount(disk: &disk::Disk) -> Result<(), String> {
    let mut tried = disk.unmount();
    for _ in 0..100 {
        if tried.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        tried = disk.unmount();
    }
    tried.map_err(told)
}

/// Fills the disk.
#[derive(Default)]
pub struct Full {
    filled: Vec<(u64, PathBuf)>,
}

#[async_trait]
impl Nemesis for Full {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, String> {
        let whom = *[Whom::Leader, Whom::One, Whom::Majority]
            .choose(dice)
            .unwrap_or(&Whom::One);
        let ids = choose(bed, whom, dice).await?;
        for id in &ids {
            let filler = bed.cluster.disks[*id as usize - 1].path().join("filler");
            self.filled.push((*id, filler.clone()));
            fill(&filler).map_err(told)?;
        }
        Ok(Target::of("filled the disk of", ids))
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, String> {
        for (id, filler) in &self.filled {
            let probe = filler.with_file_name("probe");
            let written = fs::write(&probe, [1; 8192]);
            let _ = fs::remove_file(&probe);
            match written {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                other => return Err(format!("member {id}: {other:?}")),
            }
        }
        let ended = |id: &u64| bed.cluster.member(*id).pid().is_none();
        let ids = self.filled.iter().map(|(id, _)| *id);
        let ended: Vec<u64> = ids.filter(ended).collect();
        Ok(format!("no room; ended by themselves so far: {ended:?}"))
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), String> {
        for (_, filler) in &self.filled {
            let _ = fs::remove_file(filler);
        }
        let ids: Vec<u64> = self.filled.iter().map(|(id, _)| *id).collect();
        for id in &ids {
            bed.cluster.member(*id).ends_within(DYING_FULL).await;
        }
        may_have_ended(bed, &ids);
        start(bed, &ids).await
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

/// Lets fsync fail.
#[derive(Default)]
pub struct Fsync {
    /// How often it had failed before.
    before: Vec<(u64, i64)>,
}

#[async_trait]
impl Nemesis for Fsync {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, String> {
        const EIO: i64 = 5;
        let whom = *[Whom::Leader, Whom::One, Whom::Majority]
            .choose(dice)
            .unwrap_or(&Whom::One);
        let ids = choose(bed, whom, dice).await?;
        for id in &ids {
            let switch = switch(bed, *id)?;
            self.before.push((*id, switch.failed().map_err(told)?));
            switch.sync_errno(EIO).map_err(told)?;
        }
        Ok(Target::of("fsync fails at", ids))
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, String> {
        let mut times = Vec::new();
        for (id, before) in &self.before {
            times.push(switch(bed, *id)?.failed().map_err(told)? - before);
        }
        match times.iter().any(|count| *count > 0) {
            true => Ok(format!("failed so often: {times:?}")),
            false => Err("none has failed yet".to_owned()),
        }
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), String> {
        for (id, _) in &self.before {
            switch(bed, *id)?.sync_errno(0).map_err(told)?;
        }
        for (id, before) in &self.before {
            // Whom it has met ends, and may still be about to.
            if switch(bed, *id)?.failed().map_err(told)? > *before {
                bed.cluster.member(*id).ends_within(DYING).await;
            }
        }
        let ids: Vec<u64> = self.before.iter().map(|(id, _)| *id).collect();
        may_have_ended(bed, &ids);
        start(bed, &ids).await
    }
}
