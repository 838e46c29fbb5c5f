//! Bounded queue of lines, and the thread that writes them.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use quorate_clock::Instant;

/// Upper bound of the bytes that wait to be written; a single line may be longer.
const PENDING_BYTES_MAX: usize = 256 << 10;
/// Pause between two tries where a shared descriptor is set to refuse rather than to wait.
const AGAIN: Duration = Duration::from_millis(10);
/// Shortest time between two reports of lost lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Reason of the loss of a line that found no room.
const TOO_SLOW: &str = "they were not taken as fast as they came";

thread_local! {
    /// True while this thread reports lost lines. Its line has room beyond the rest, or it would be
    /// lost where it is needed most: when more comes than can be written.
    static IS_REPORT: Cell<bool> = const { Cell::new(false) };
}

/// Queue that takes lines at once and writes them when it can.
pub struct LineQueue(Arc<SharedLines>);

struct SharedLines {
    queue: Mutex<PendingLines>,
    /// Signals that a line waits.
    more: Condvar,
    /// Signals that all lines are written.
    all: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct PendingLines {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// True while a line that was taken out is being written.
    writing: bool,
    /// True once nobody takes lines out.
    closed: bool,
}

impl LineQueue {
    /// Starts to write to `target`, on a thread of this name. `report` gets the number of lines
    /// lost since its last call, and the reason, once a line got through again.
    pub fn start(
        name: &str,
        target: impl Write + Send + 'static,
        report: fn(lines: u64, why: &str),
    ) -> LineQueue {
        let lines = LineQueue::new(false);
        let writer = QueueWriter {
            shared: lines.0.clone(),
            target,
            report,
            torn: false,
            why: String::new(),
            reported: 0,
            reported_at: None,
        };
        let thread = thread::Builder::new().name(name.to_owned());
        match thread.spawn(move || writer.run()) {
            Ok(_) => lines,
            Err(_) => LineQueue::closed(),
        }
    }

    /// Returns a queue that loses every line, and counts it.
    pub fn closed() -> LineQueue {
        LineQueue::new(true)
    }

    fn new(closed: bool) -> LineQueue {
        let queue = PendingLines {
            closed,
            ..PendingLines::default()
        };
        LineQueue(Arc::new(SharedLines {
            queue: Mutex::new(queue),
            more: Condvar::new(),
            all: Condvar::new(),
            lost: AtomicU64::new(0),
        }))
    }

    /// Queues a line, its end included. Never blocks; without room it is lost.
    pub fn push(&self, line: &[u8]) {
        let mut queue = self.0.queue.lock();
        // A line that is longer than all the room goes where nothing else waits.
        let crowded =
            queue.bytes > 0 && queue.bytes + line.len() > PENDING_BYTES_MAX && !IS_REPORT.get();
        if queue.closed || crowded {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        self.0.more.notify_one();
    }

    /// Waits until all lines so far are written or lost, at most for `limit`; returns true if they
    /// are.
    pub fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut queue = self.0.queue.lock();
        while !queue.lines.is_empty() || queue.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.0.all.wait_for(&mut queue, left);
        }
        true
    }

    /// Returns how many lines were lost.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

/// State of the thread.
struct QueueWriter<W> {
    shared: Arc<SharedLines>,
    target: W,
    report: fn(u64, &str),
    /// True if the last line was written in part.
    torn: bool,
    /// Error of the last failed write, unless it was reported.
    why: String,
    /// Number of lost lines at the last report, and its time.
    reported: u64,
    reported_at: Option<Instant>,
}

/// Should the thread end, by a panic: from then on lines are lost, and nobody waits for it.
impl<W> Drop for QueueWriter<W> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        let left = queue.lines.len() as u64 + u64::from(queue.writing);
        self.shared.lost.fetch_add(left, Ordering::Relaxed);
        *queue = PendingLines {
            closed: true,
            ..PendingLines::default()
        };
        self.shared.all.notify_all();
    }
}

impl<W: Write> QueueWriter<W> {
    fn run(mut self) {
        loop {
            let line = self.next();
            match self.write(&line) {
                Ok(()) => self.report_lost(),
                Err(error) => {
                    self.why = error.to_string();
                    self.shared.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut queue = self.shared.queue.lock();
        queue.writing = false;
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.bytes -= line.len();
                queue.writing = true;
                return line;
            }
            self.shared.all.notify_all();
            self.shared.more.wait(&mut queue);
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_whole(b"\n")?;
        }
        self.write_whole(line)?;
        self.torn = false;
        Ok(())
    }

    fn write_whole(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.target.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.torn = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN),
                Err(error) => return Err(error),
            }
        }
        self.target.flush()
    }

    /// Reports lost lines, now that lines get through.
    fn report_lost(&mut self) {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let lately = self
            .reported_at
            .is_some_and(|at| at.elapsed() < REPORT_INTERVAL);
        if lost == self.reported || lately {
            return;
        }
        let why = std::mem::take(&mut self.why);
        let why = if why.is_empty() { TOO_SLOW } else { &why };
        let count = lost - self.reported;
        (self.reported, self.reported_at) = (lost, Some(Instant::now()));
        IS_REPORT.set(true);
        (self.report)(count, why);
        IS_REPORT.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn nothing(_: u64, _: &str) {}

    /// Returns a queue over a descriptor that takes some of what is written and then makes its
    /// writer wait.
    fn slow() -> (LineQueue, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let target = std::fs::File::from(OwnedFd::from(near));
        (LineQueue::start("slow", target, nothing), far)
    }

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up() {
        let (lines, far) = slow();
        let line = [b'x'; 1_000];
        let many = 10 * PENDING_BYTES_MAX / line.len();
        let began = Instant::now();
        for _ in 0..many {
            lines.push(&line);
        }
        assert!(lines.lost() > 0);
        assert!(!lines.flush(Duration::from_millis(20)));
        assert!(began.elapsed() < SOON);
        // What was taken gets out once somebody reads.
        thread::spawn(move || io::copy(&mut &far, &mut io::sink()));
        assert!(lines.flush(SOON));
    }

    static TOLD: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());

    /// Disk that fails while it is full, at some place in a line.
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock();
            if *room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(*room);
            written.extend(&bytes[..count]);
            *room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn unwritten_lines_are_counted_and_reported_later() {
        let disk = Arc::new(Mutex::new((Vec::new(), 9)));
        let lines = LineQueue::start("disk", Disk(disk.clone()), |count, why| {
            TOLD.lock().push((count, why.to_owned()));
        });
        for line in ["first\n", "second\n", "third\n"] {
            lines.push(line.as_bytes());
        }
        assert!(lines.flush(SOON));
        assert_eq!(lines.lost(), 2);
        assert!(TOLD.lock().is_empty());
        disk.lock().1 = usize::MAX;
        lines.push(b"fourth\n");
        assert!(lines.flush(SOON));
        assert_eq!(disk.lock().0, b"first\nsec\nfourth\n");
        let reported = TOLD.lock().clone();
        assert_eq!(reported.len(), 1);
        assert!(
            reported[0].0 == 2 && reported[0].1.contains("no storage space"),
            "{reported:?}"
        );
    }

    #[test]
    fn oversized_line_gets_out_of_empty_queue() {
        let disk = Arc::new(Mutex::new((Vec::new(), usize::MAX)));
        let lines = LineQueue::start("long", Disk(disk.clone()), nothing);
        lines.push(&vec![b'x'; 2 * PENDING_BYTES_MAX]);
        assert!(lines.flush(SOON));
        assert_eq!(
            (disk.lock().0.len(), lines.lost()),
            (2 * PENDING_BYTES_MAX, 0)
        );
    }

    /// Writer that ends its thread.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("a writer that panics, as it should here");
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_that_panics_holds_nobody_up() {
        let lines = LineQueue::start("broken", Broken, nothing);
        lines.push(b"a\n");
        assert!(lines.flush(SOON));
        lines.push(b"b\n");
        assert!(lines.flush(SOON));
        assert!(lines.lost() > 0);
    }

    #[test]
    fn without_a_thread_every_line_is_lost() {
        let lines = LineQueue::closed();
        lines.push(b"a\n");
        assert!(lines.flush(Duration::ZERO));
        assert_eq!(lines.lost(), 1);
    }
}
