//! Parent side of one connector process: frames both ways, heartbeats, exit.

use std::{io, time::Duration};

use quorate_clock::Instant;
use quorate_ipc::{
    STANDBY_HEARTBEAT_FACTOR,
    frames::{FrameReader, write_frames},
    lease::LeaseWriter,
};
use quorate_platform::host_processes::describe_exit;
use quorate_proto::connector::{FromProcess, ToProcess, from_process, to_process};
use tokio::{
    net::unix::OwnedReadHalf,
    process::Child,
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tracing::warn;

use super::{
    connector_spec::ConnectorSpec,
    process_spawner::{ProcessSpawner, StartPermit},
};

/// Longest time until a new process gives its first heartbeat.
const FIRST_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silent intervals, of which a lease has four, until a process counts as stuck. The first of them
/// has begun before the last heartbeat. One that stands by sends them less often.
const SILENT_INTERVALS_MAX: u32 = 5;
/// Room for an outcome for each message in flight, of which there are at most as many as the
/// largest prefetch, and for other commands. Memory is taken only as the queue fills.
const OUTBOX_CAPACITY: usize = u16::MAX as usize + 64;

/// A running process.
pub(crate) struct ConnectorProcess {
    pub incarnation: u64,
    /// Process id of the operating system.
    pub pid: u32,
    pub started: Instant,
    child: Child,
    frames: FrameReader<OwnedReadHalf>,
    orders: mpsc::Sender<ToProcess>,
    ticks: Interval,
    silent_intervals: u32,
    /// True once the process got the command to consume or to prepare.
    is_active: bool,
    has_reported: bool,
    /// Permit that is given back with the first heartbeat.
    start_permit: Option<StartPermit>,
    kill_at: Option<Instant>,
    killed: Option<&'static str>,
    end_of_frames: bool,
}

/// Event of a process.
pub(crate) enum ProcessEvent {
    /// A frame that was sent under this epoch.
    Frame(u64, from_process::Frame),
    /// The process is gone and reaped, for this reason.
    Ended(String),
}

impl ConnectorProcess {
    /// Starts a process.
    pub(crate) async fn start(
        spawner: &ProcessSpawner,
        page: &LeaseWriter,
        spec: &ConnectorSpec,
        alive: Duration,
        start_permit: StartPermit,
    ) -> io::Result<ConnectorProcess> {
        let (child, control) = spawner.spawn(&spec.key, page.descriptor()?, alive).await?;
        let pid = child
            .id()
            .ok_or_else(|| io::Error::other("the process ended at once"))?;
        let (read, write) = control.into_split();
        let (orders, outbox) = mpsc::channel(OUTBOX_CAPACITY);
        // The task ends with the process, as the socket closes.
        tokio::spawn(write_frames(write, outbox));
        let mut ticks = interval(alive);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(ConnectorProcess {
            incarnation: spawner.next_incarnation(),
            pid,
            started: Instant::now(),
            child,
            frames: FrameReader::new(read),
            orders,
            ticks,
            silent_intervals: 0,
            is_active: false,
            has_reported: false,
            start_permit: Some(start_permit),
            kill_at: None,
            killed: None,
            end_of_frames: false,
        })
    }

    /// Sends a command. A process that does not read its commands is stuck, and killed.
    pub(crate) fn order(&mut self, frame: to_process::Frame) {
        match frame {
            to_process::Frame::Activate(_) | to_process::Frame::Prepare(_) => {
                (self.is_active, self.silent_intervals) = (true, 0);
            }
            to_process::Frame::Deactivate(_) | to_process::Frame::Stop(_) => self.is_active = false,
            _ => {}
        }
        if let Err(mpsc::error::TrySendError::Full(_)) =
            self.orders.try_send(ToProcess { frame: Some(frame) })
        {
            self.kill("it did not read its orders");
        }
    }

    /// Sets the time at which the process is killed if it is still there; `None`: it may live.
    pub(crate) fn kill_at(&mut self, at: Option<Instant>) {
        self.kill_at = at;
    }

    fn kill(&mut self, why: &'static str) {
        if self.killed.is_none() {
            self.killed = Some(why);
            warn!(pid = self.pid, why, "killing a connector process");
            // An error means that the process has ended by itself.
            let _ = self.child.start_kill();
        }
    }

    /// Returns the next event. Frames of a process that was killed are dropped. Cancel safe.
    pub(crate) async fn next(&mut self) -> ProcessEvent {
        loop {
            tokio::select! {
                // Frames that were sent before the end come before it.
                biased;
                frame = self.frames.next::<FromProcess>(), if !self.end_of_frames => match frame {
                    Ok(Some(FromProcess { epoch, incarnation, frame: Some(frame) })) => {
                        self.silent_intervals = 0;
                        self.has_reported = true;
                        self.start_permit = None;
                        // Incarnation 0: sent before the first activation.
                        if self.killed.is_none() && (incarnation == self.incarnation || incarnation == 0) {
                            return ProcessEvent::Frame(epoch, frame);
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => self.end_of_frames = true,
                    Err(error) => {
                        self.end_of_frames = true;
                        // On any other error the process has died, and its exit status gives the
                        // reason.
                        if error.kind() == io::ErrorKind::InvalidData {
                            self.kill("it sent what is no frame");
                        }
                    }
                },
                ended = self.child.wait() => {
                    let how = ended.map_or_else(|error| error.to_string(), describe_exit);
                    return ProcessEvent::Ended(match self.killed {
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
        self.silent_intervals += 1;
        if self.kill_at.is_some_and(|at| Instant::now() >= at) {
            self.kill("it did not finish in time");
        }
        let most = if self.is_active {
            SILENT_INTERVALS_MAX
        } else {
            SILENT_INTERVALS_MAX * STANDBY_HEARTBEAT_FACTOR
        };
        if self.has_reported && self.silent_intervals >= most {
            self.kill("it gave no sign of life");
        } else if !self.has_reported && self.started.elapsed() > FIRST_HEARTBEAT_TIMEOUT {
            self.kill("it never spoke: does the program call quorate::run_if_asked first?");
        }
    }

    /// Kills the process and waits until it is reaped, however long that takes.
    pub(crate) async fn reap(&mut self) {
        self.kill("its channel has ended");
        while timeout(Duration::from_secs(5), self.child.wait())
            .await
            .is_err()
        {
            warn!(pid = self.pid, "a killed connector process is still there");
        }
    }
}
