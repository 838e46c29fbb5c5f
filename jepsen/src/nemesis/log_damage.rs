//! Damage to a stopped member's log: bytes that are cut off or flipped.
//!
//! One member at a time, a minority. It may refuse to start: then it is given back what it
//! had, as from a copy. It may not start and have forgotten in silence what it had promised.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use quorate_testkit::error_chain::chain;
use rand::{Rng, rngs::StdRng};

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    kill::{VictimChoice, answers, choose, start},
};
use crate::{cluster::disk::run, run_context::RunContext};

/// Time limit for a member to refuse, or to answer.
const DECIDES_WITHIN: Duration = Duration::from_secs(10);

/// Damage to the log of one member.
#[derive(Default)]
pub struct LogDamage {
    member: Option<u64>,
    copy: PathBuf,
    done: String,
}

#[async_trait]
impl Nemesis for LogDamage {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let whom = if rng.random_ratio(1, 3) {
            VictimChoice::Leader
        } else {
            VictimChoice::One
        };
        let ids = choose(context, whom, rng).await?;
        let id = ids[0];
        let member = context.cluster.member(id);
        member.end();
        self.member = Some(id);
        self.copy = context.cluster.scratch().join(format!("copy-{id}"));
        let _ = fs::remove_dir_all(&self.copy);
        run(Command::new("cp")
            .arg("-a")
            .arg(&member.data)
            .arg(&self.copy))
        .map_err(NemesisError::io("the data can't be copied"))?;
        let damaged = damage(&member.data, rng);
        self.done = damaged.map_err(NemesisError::io("the log can't be damaged"))?;
        start(context, &[]).await?;
        member.start(&[])?;
        let decided = answers(member, DECIDES_WITHIN).await;
        self.done += &match decided {
            Ok(()) => "; it started".to_owned(),
            Err(error) => format!("; it did not start: {}", chain(&error)),
        };
        Ok(FaultTarget::new(&format!("{} at", self.done), ids))
    }

    async fn probe(&mut self, _: &Arc<RunContext>) -> Result<String, NemesisError> {
        Ok(self.done.clone())
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        let Some(id) = self.member else {
            return Ok(());
        };
        let member = context.cluster.member(id);
        if member.pid().is_none() && self.copy.exists() {
            let removed = fs::remove_dir_all(&member.data);
            removed.map_err(NemesisError::io("the damaged data can't be removed"))?;
            run(Command::new("cp")
                .arg("-a")
                .arg(&self.copy)
                .arg(&member.data))
            .map_err(NemesisError::io("the data can't be put back"))?;
            // What is put back would not survive `power` beside this otherwise.
            run(Command::new("sync").arg("-f").arg(&member.data))
                .map_err(NemesisError::io("the data can't be synced"))?;
            member.ended.lock().clear();
        }
        Ok(start(context, &[id]).await?)
    }
}

/// Damages the newest log file; describes the damage.
fn damage(data: &Path, rng: &mut StdRng) -> io::Result<String> {
    let mut logs = files(data, "log")?;
    logs.sort_by_key(|(path, _)| path.clone());
    let (path, size) = logs
        .pop()
        .ok_or_else(|| io::Error::other("there is no log file with anything in it"))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if rng.random_ratio(1, 2) {
        let less = rng.random_range(1..=size.min(2048));
        file.set_len(size - less)?;
        return Ok(format!("cut the last {less} of {size} bytes of {name} off"));
    }
    let at = rng.random_range(0..size);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 1 << rng.random_range(0..8);
    file.write_all_at(&byte, at)?;
    Ok(format!("flipped a bit of byte {at} of {size} of {name}"))
}

/// Lists files with something in them, and how long they are.
fn files(folder: &Path, extension: &str) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|it| it == extension) {
            let size = fs::metadata(&path)?.len();
            if size > 0 {
                found.push((path, size));
            }
        }
    }
    Ok(found)
}
