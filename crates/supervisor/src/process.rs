//! One connector process, as its parent holds it: frames both ways, signs of life, its end.

use std::{io, time::Duration};

use quorate_clock::Instant;
use quorate_ipc::{
    AT_REST,
    frames::{Reader, write_all},
    lease::Page,
};
use quorate_platform::process::ending;
use quorate_proto::connector::{FromProcess, ToProcess, from_process, to_process};
use tokio::{
    net::unix::OwnedReadHalf,
    process::Child,
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tracing::warn;

use super::{
    spawner::{Spawner, Turn},
    spec::Spec,
};

/// How long a new process may take to give its first sign of life.
const BIRTH: Duration = Duration::from_secs(10);
/// Silent intervals, of which a lease has four, until a process counts as stuck. The first
/// of them has begun before the last sign of life. One that stands by speaks less often.
const SILENT: u32 = 5;
/// Room for an outcome for each message in flight, of which there are at most as many as
/// the largest prefetch, and for other orders. It takes memory as it fills.
const ORDERS: usize = u16::MAX as usize + 64;

/// A running process.
pub struct Process {
    /// Its number.
    pub incarnation: u64,
    /// The operating system's id of it.
    pub pid: u32,
    /// When it was started.
    pub started: Instant,
    child: Child,
    frames: Reader<OwnedReadHalf>,
    orders: mpsc::Sender<ToProcess>,
    ticks: Interval,
    silent: u32,
    /// Whether it was told to consume, or to be about to.
    at_work: bool,
    spoken: bool,
    /// Given back with its first sign of life.
    turn: Option<Turn>,
    kill_at: Option<Instant>,
    killed: Option<&'static str>,
    end_of_frames: bool,
}

/// What a process did.
pub enum Event {
    /// It sent this under this epoch.
    Frame(u64, from_process::Frame),
    /// It is gone and reaped; why.
    Ended(String),
}

impl Process {
    /// Starts one.
    pub async fn start(
        spawner: &Spawner,
        page: &Page,
        spec: &Spec,
        alive: Duration,
        turn: Turn,
    ) -> io::Result<Process> {
        let (child, control) = spawner.spawn(&spec.key, page.descriptor()?, alive).await?;
        let pid = child
            .id()
            .ok_or_else(|| io::Error::other("the process ended at once"))?;
        let (read, write) = control.into_split();
        let (orders, outbox) = mpsc::channel(ORDERS);
        // It ends with the process: the socket closes.
        tokio::spawn(write_all(write, outbox));
        let mut ticks = interval(alive);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Process {
            incarnation: spawner.next_incarnation(),
            pid,
            started: Instant::now(),
            child,
            frames: Reader::new(read),
            orders,
            ticks,
            silent: 0,
            at_work: false,
            spoken: false,
            turn: Some(turn),
            kill_at: None,
            killed: None,
            end_of_frames: false,
        })
    }

    /// Sends an order. A process that does not read them is stuck, and killed.
    pub fn order(&mut self, frame: to_process::Frame) {
        match frame {
            to_process::Frame::Activate(_) | to_process::Frame::Prepare(_) => {
                (self.at_work, self.silent) = (true, 0);
            }
            to_process::Frame::Deactivate(_) | to_process::Frame::Stop(_) => self.at_work = false,
            _ => {}
        }
        if let Err(mpsc::error::TrySendError::Full(_)) =
            self.orders.try_send(ToProcess { frame: Some(frame) })
        {
            self.kill("it did not read its orders");
        }
    }

    /// Kills it at that time, if it is still there; `None`: lets it live.
    pub fn kill_at(&mut self, at: Option<Instant>) {
        self.kill_at = at;
    }

    fn kill(&mut self, why: &'static str) {
        if self.killed.is_none() {
            self.killed = Some(why);
            warn!(pid = self.pid, why, "killing a connector process");
            // An error means that it has ended by itself.
            let _ = self.child.start_kill();
        }
    }

    /// The next event. Frames of a process that was killed are dropped. Can be dropped
    /// and called again.
    pub async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                // What it said before it ended comes before its end.
                biased;
                frame = self.frames.next::<FromProcess>(), if !self.end_of_frames => match frame {
                    Ok(Some(FromProcess { epoch, incarnation, frame: Some(frame) })) => {
                        self.silent = 0;
                        self.spoken = true;
                        self.turn = None;
                        // 0: before its first activation.
                        if self.killed.is_none() && (incarnation == self.incarnation || incarnation == 0) {
                            return Event::Frame(epoch, frame);
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => self.end_of_frames = true,
                    Err(error) => {
                        self.end_of_frames = true;
                        // Otherwise it has died, and how is told by its status.
                        if error.kind() == io::ErrorKind::InvalidData {
                            self.kill("it sent what is no frame");
                        }
                    }
                },
                ended = self.child.wait() => {
                    let how = ended.map_or_else(|error| error.to_string(), ending);
                    return Event::Ended(match self.killed {
                        Some(why) => format!("it was killed: {why}"),
                        None => format!("it {how}"),
                    });
                }
                _ = self.ticks.tick() => self.tick(),
            }
        }
    }

    /// Counts intervals, not time: a parent that was itself held up has counted one.
    fn tick(&mut self) {
        self.silent += 1;
        if self.kill_at.is_some_and(|at| Instant::now() >= at) {
            self.kill("it did not finish in time");
        }
        let most = if self.at_work {
            SILENT
        } else {
            SILENT * AT_REST
        };
        if self.spoken && self.silent >= most {
            self.kill("it gave no sign of life");
        } else if !self.spoken && self.started.elapsed() > BIRTH {
            self.kill("it never spoke: does the program call child::run_if_asked first?");
        }
    }

    /// Waits until it is reaped, however it takes.
    pub async fn reap(&mut self) {
        self.kill("its channel has ended");
        while timeout(Duration::from_secs(5), self.child.wait())
            .await
            .is_err()
        {
            warn!(pid = self.pid, "a killed connector process is still there");
        }
    }
}
