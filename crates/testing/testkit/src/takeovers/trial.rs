//! Trial: one fault and what came of it.

use std::time::Duration;

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use rand::{Rng, rngs::StdRng};
use serde_json::Value;

use super::{
    bed::{FENCES, ObservedReign, TakeoverBed},
    fault::ServerFault,
};
use crate::process::{died, family, send};

/// How long a takeover may take before the run is given up.
const LIMIT: Duration = Duration::from_secs(20);

/// No message came under a newer epoch after a fault.
#[derive(Debug, thiserror::Error)]
#[error(
    "trial {n}, {fault}: no message of channel {channel} under a newer epoch than {epoch} in {LIMIT:?}"
)]
pub struct NobodyTookOver {
    n: usize,
    fault: ServerFault,
    channel: &'static str,
    epoch: u64,
}

/// One fault, when it was, and what came of it. Figures by fence stand in the order of
/// [`FENCES`].
#[derive(Clone, Debug)]
pub struct TakeoverTrial {
    /// Its number, from 0.
    pub n: usize,
    /// The fault.
    pub fault: ServerFault,
    /// When the fault was.
    pub begun: Instant,
    /// When what was stopped was continued.
    pub resumed: Option<Instant>,
    /// When everything was in order again.
    pub ended: Instant,
    /// The epoch before and after; the same when nobody took over.
    pub epochs: (u64, u64),
    /// From the signal to the first message handled under the new epoch; after the stop of
    /// a connector's process the longest silence of its channel. `None`: no takeover.
    pub gaps: Vec<Option<Duration>>,
    /// For how long the broker had two consumers.
    pub overlaps: Vec<Duration>,
    /// How long after the signal the old process of each channel was gone.
    pub gone: Vec<Option<Duration>>,
    /// How the new reign explains its beginning: the steps of `GET /v1/cluster/takeovers`.
    pub story: Option<Value>,
}

impl TakeoverTrial {
    /// For how long it was stopped.
    pub fn stopped(&self) -> Option<Duration> {
        Some(self.resumed? - self.begun)
    }

    /// For how long the old process of a channel was there, and not stopped, after the
    /// first message under the new epoch, by fence.
    pub fn beside(&self) -> Vec<Duration> {
        let both = self.gone.iter().zip(&self.gaps);
        let beside = both.map(|(gone, gap)| {
            let (Some(gone), Some(gap)) = (gone, gap) else {
                return Duration::ZERO;
            };
            let from = match (self.fault, self.stopped()) {
                (ServerFault::StopProcesses, Some(stopped)) => stopped.max(*gap),
                _ => *gap,
            };
            gone.saturating_sub(from)
        });
        beside.collect()
    }

    /// Whether somebody took over.
    pub fn taken_over(&self) -> bool {
        self.epochs.1 > self.epochs.0
    }
}

/// Injects the fault into whoever reigns, and waits until all is in order again.
pub async fn run(
    bed: &mut TakeoverBed,
    n: usize,
    fault: ServerFault,
    rng: &mut StdRng,
) -> Result<TakeoverTrial, NobodyTookOver> {
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..150))).await;
    let ObservedReign {
        server,
        epoch,
        processes: old,
    } = bed.settled().await;
    let promise = bed.cluster.failover_ms as f64 / 1000.0;
    let stop_for = Duration::from_secs_f64(promise * rng.random_range(0.2..3.0));
    let from = bed.sink.calls_len();
    let member = bed.cluster.members[server].pid();
    let mut processes = match fault {
        ServerFault::Kill | ServerFault::StopMember => vec![member],
        ServerFault::StopProcesses => family(member),
        ServerFault::StopConnector(fence) => {
            let of = FENCES.iter().position(|f| *f == fence);
            of.map(|n| old[n]).into_iter().collect()
        }
    };
    let begun = Instant::now();
    let ends: Vec<_> = old
        .into_iter()
        .map(|pid| tokio::spawn(died(pid, begun)))
        .collect();
    let resumed = if fault == ServerFault::Kill {
        bed.cluster.members[server].kill();
        None
    } else {
        send(Signal::SIGSTOP, &processes);
        tokio::time::sleep(stop_for).await;
        // Sometimes the member wakes up first, sometimes its connectors.
        if n % 2 == 1 {
            processes.reverse();
        }
        let resumed = Instant::now();
        send(Signal::SIGCONT, &processes);
        Some(resumed)
    };
    let mut gaps = Vec::new();
    if fault == ServerFault::Kill {
        gaps = firsts(bed, (n, fault), epoch, from, begun).await?;
        bed.cluster.members[server].start(&[]);
    }
    let now = bed.settled().await.epoch;
    match fault {
        ServerFault::Kill => {}
        ServerFault::StopConnector(fence) => {
            // Work was resumed by the replacement: it may be waiting for the next message.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let silence =
                |channel: &&str| (*channel == fence).then(|| silence(bed, fence, from, begun));
            gaps = FENCES.iter().map(silence).collect();
        }
        ServerFault::StopMember | ServerFault::StopProcesses if now > epoch => {
            gaps = firsts(bed, (n, fault), epoch, from, begun).await?;
        }
        ServerFault::StopMember | ServerFault::StopProcesses => gaps = vec![None; FENCES.len()],
    }
    bed.one_consumer_each().await;
    let overlaps = bed.overlaps_since(begun);
    let mut gone = Vec::new();
    for end in ends {
        // The processes of a member that was killed end; those of one that goes on may stay,
        // and are parked: the broker knows of no consumer of theirs by now.
        let limit = Duration::from_millis(if fault == ServerFault::Kill { 3000 } else { 10 });
        let ended = tokio::time::timeout(limit, end).await;
        gone.push(ended.ok().and_then(Result::ok));
    }
    let story = if now > epoch {
        bed.story(now).await
    } else {
        None
    };
    Ok(TakeoverTrial {
        n,
        fault,
        begun,
        resumed,
        ended: Instant::now(),
        epochs: (epoch, now),
        gaps,
        overlaps,
        gone,
        story,
    })
}

/// From the fault to the first message of each channel under a newer epoch.
async fn firsts(
    bed: &TakeoverBed,
    (n, fault): (usize, ServerFault),
    epoch: u64,
    from: usize,
    begun: Instant,
) -> Result<Vec<Option<Duration>>, NobodyTookOver> {
    let mut gaps = Vec::new();
    for fence in FENCES {
        let first = bed
            .sink
            .first_after(fence, epoch, from, Instant::now() + LIMIT);
        let first = first.await.ok_or(NobodyTookOver {
            n,
            fault,
            channel: fence,
            epoch,
        })?;
        gaps.push(Some(first.0.saturating_duration_since(begun)));
    }
    Ok(gaps)
}

/// The longest time since `begun` in which no call of the channel began.
fn silence(bed: &TakeoverBed, channel: &str, from: usize, begun: Instant) -> Duration {
    let calls = bed.sink.calls_from(from);
    let times = calls.iter().filter(|call| call.channel == channel);
    let times = times.map(|call| call.begun).filter(|at| *at > begun);
    let mut longest = Duration::ZERO;
    let mut last = begun;
    for at in times.chain([Instant::now()]) {
        longest = longest.max(at.saturating_duration_since(last));
        last = at;
    }
    longest
}
