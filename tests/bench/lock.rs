//! One trial of a lock, from which one would build a singleton: a fault of the process
//! that holds it, to the moment at which a process that waits for it has it. The servers
//! stay whole, so this is the best case; where the leader goes with the holder, both times
//! come together.

use std::{process::Stdio, time::Duration};

use quorate_testkit::process::{ChildProcess, bound};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::ChildStdout,
};

use crate::{
    clock::now_ns,
    fault::Fault,
    hosts::Hosts,
    trial::{Measured, any_moment},
};

const LIMIT: Duration = Duration::from_secs(30);

/// Where a lock is, for a process that wants it.
#[derive(Clone, Debug)]
pub struct Lock {
    /// `etcd`, `zookeeper` or `redis`.
    pub kind: &'static str,
    /// One server.
    pub address: String,
    /// The time after which a silent holder loses it, in ms.
    pub ttl_ms: u64,
}

/// A process that wants the lock, has it or waits for it.
struct Contender {
    process: ChildProcess,
    said: Lines<BufReader<ChildStdout>>,
}

/// One trial. Both contenders are new, as the servers that the last ones knew may have been
/// struck since.
pub async fn trial(lock: &Lock, fault: Fault) -> Result<Measured, String> {
    let mut holder = Contender::start(lock);
    holder.hear("held").await?;
    let mut next = Contender::start(lock);
    next.hear("waiting").await?;
    // Several renewals, so that it is a lock that lives.
    tokio::time::sleep(Duration::from_millis(lock.ttl_ms)).await;
    any_moment().await;
    let before = tokio::time::timeout(Duration::from_millis(1), next.said.next_line()).await;
    if let Ok(said) = before {
        return Err(format!("taken while its holder lived: {said:?}"));
    }
    // The hosts are not needed: no partition is tried here.
    let (hosts, pid) = (Hosts::loopback(), holder.process.pid());
    let struck = now_ns();
    fault.strike(&hosts, 0, pid);
    let held = next.hear("held").await?;
    fault.took_effect(&hosts, 0, pid)?;
    drop(holder);
    next.give_back();
    let held: u64 = held.parse().map_err(|_| format!("held at {held:?}"))?;
    let gap = held
        .checked_sub(struck)
        .ok_or("taken before its holder was struck")?;
    Ok(Measured::from([(
        "lock".to_owned(),
        (gap / 1000) as f64 / 1000.0,
    )]))
}

impl Contender {
    /// The one who waits says so, the one who has it at once doesn't.
    fn start(lock: &Lock) -> Contender {
        let program = std::env::current_exe().expect("this program's path");
        let mut command = bound(program);
        command.args([
            crate::hold::MARK,
            lock.kind,
            &lock.address,
            &lock.ttl_ms.to_string(),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = ChildProcess::spawn(command).expect("can't start a process");
        let out = ChildStdout::from_std(process.output()).expect("a pipe");
        Contender {
            process,
            said: BufReader::new(out).lines(),
        }
    }

    /// Asks it to give the lock back and to end, so that the next trial's holder has it.
    fn give_back(mut self) {
        tokio::task::block_in_place(|| self.process.stop_within(Duration::from_secs(1)));
    }

    /// What follows a word, once it is said.
    async fn hear(&mut self, word: &str) -> Result<String, String> {
        let heard = async {
            while let Some(line) = self.said.next_line().await.map_err(|e| e.to_string())? {
                if let Some(rest) = line.strip_prefix(word) {
                    return Ok(rest.trim().to_owned());
                }
            }
            Err(format!("a contender ended before it said {word:?}"))
        };
        let heard = tokio::time::timeout(LIMIT, heard).await;
        heard.unwrap_or_else(|_| Err(format!("no contender said {word:?} within {LIMIT:?}")))
    }
}
