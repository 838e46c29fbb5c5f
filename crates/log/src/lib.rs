//! Log of a process: lines on stderr that never block, fail or end their writer.
//!
//! Each line is queued and written by a thread of its own ([`LineQueue`]). A line that finds no
//! room, since nobody reads the other end of stderr, or that can't be written, since its device is
//! full or its pipe is closed, is lost: it is counted ([`lost`]), and reported once a line gets out
//! again.
//!
//! tracing-appender has such a writer too. It was not taken: it counts no failed writes and passes
//! over them, can't be waited for at a panic, and prints to stdout when the end of a process finds
//! its queue full, which is the very thing that must not happen.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod line_queue;
mod rate_limit;
mod settings;

use std::{
    fmt::Display,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tracing_subscriber::EnvFilter;

pub use line_queue::LineQueue;
pub use rate_limit::RateLimit;
pub use settings::{LogFormat, LogSettings};

/// Libraries whose log is for their own authors; the part that uses one logs what matters of it.
/// `log.level = "info,openraft=info"` shows it all the same.
const QUIET: &str = "openraft=off,lapin=off";
/// Time for which the end of a process waits for its last lines to get out.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Time for which a panic waits, on whatever thread it is.
const PANIC: Duration = Duration::from_millis(300);
/// Time for which [`print_note`] waits, so that lines on stderr and stdout keep their order.
const ORDER: Duration = Duration::from_millis(100);

static STDERR: OnceLock<LineQueue> = OnceLock::new();
static PANICS: RateLimit = RateLimit::each_second();
/// True if every line is JSON.
static JSON: AtomicBool = AtomicBool::new(false);

fn stderr() -> &'static LineQueue {
    STDERR.get_or_init(|| {
        // A descriptor of our own: the lock of `io::stderr` would be held while a write hangs.
        match io::stderr().as_fd().try_clone_to_owned() {
            Ok(fd) => LineQueue::start("log", File::from(fd), warn_lost_lines),
            Err(_) => LineQueue::closed(),
        }
    })
}

fn warn_lost_lines(lines: u64, why: &str) {
    tracing::warn!(lines, why, "lines of the log were lost before this one");
}

/// Writes this process's log to stderr from now on, panics included.
pub fn start(settings: &LogSettings) {
    // Not `new`, which prints what it can't read.
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.level))
        .unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},info")));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| StderrWriter)
        // It would report its own errors by `eprintln!`, which panics.
        .log_internal_errors(false);
    // A second call, in a program that has a log of its own, changes nothing.
    let started = match settings.format {
        LogFormat::Text => log.with_ansi(has_colours()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    if started.is_ok() {
        JSON.store(settings.format == LogFormat::Json, Ordering::Relaxed);
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let Some(left_out) = PANICS.due(&place.unwrap_or_default()) else {
            return;
        };
        let backtrace = std::backtrace::Backtrace::capture();
        let left_out = (left_out > 0).then_some(left_out);
        tracing::error!(left_out, "panic: {panic}\n{backtrace}");
        // This may be the last line of the process.
        stderr().flush(PANIC);
    }));
}

/// Prints a note to the user of this process, on stderr, in one line or more. The only way to do
/// so, with [`start`]: `eprintln!` panics where stderr can't be written.
///
/// In a log of JSON the note is a JSON line of level error: a process that has begun its log prints
/// no other note than why it ends.
pub fn print_note(text: impl Display) {
    if JSON.load(Ordering::Relaxed) {
        tracing::error!("{text}");
    } else {
        stderr().push(format!("{text}\n").as_bytes());
    }
    stderr().flush(ORDER);
}

/// Waits until all lines so far are out, for a bounded time: before the end of a process.
pub fn finish() {
    if let Some(lines) = STDERR.get() {
        lines.flush(LAST_LINES);
    }
}

/// Returns how many lines of this process's log were lost.
pub fn lost() -> u64 {
    STDERR.get().map_or(0, LineQueue::lost)
}

/// Returns true if stderr is coloured: on a terminal that can, where no variable objects.
fn has_colours() -> bool {
    let set = |name| std::env::var_os(name).unwrap_or_default();
    io::stderr().is_terminal() && set("NO_COLOR").is_empty() && set("TERM") != "dumb"
}

/// Writer that the log's lines go to.
struct StderrWriter;

impl Write for StderrWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        stderr().push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
