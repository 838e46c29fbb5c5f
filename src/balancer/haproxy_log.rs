//! HAProxy's output, passed on to our own log at a bounded rate.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use quorate_log::RateLimit;

/// The number of last lines that are kept, to explain an end.
const TAIL: usize = 12;
/// The number of lines that are passed on in a second; each failed request is one.
const LINES: u32 = 50;

/// The last lines.
#[derive(Clone, Default)]
pub(super) struct LogTail(Arc<Mutex<VecDeque<String>>>);

impl LogTail {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock();
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// HAProxy writes some lines twice: as a warning, and to its log.
    fn repeats(&self, line: &str) -> bool {
        self.0
            .lock()
            .back()
            .is_some_and(|last| message(last).ends_with(line))
    }

    /// Returns the last lines that report errors, or all of the last lines.
    pub(super) fn explain(&self) -> String {
        let lines = self.0.lock();
        let alerts: Vec<&str> = lines
            .iter()
            .filter(|line| line.starts_with("[ALERT]"))
            .map(|line| message(line))
            .collect();
        if alerts.is_empty() {
            return Vec::from_iter(lines.iter().map(|line| message(line))).join("; ");
        }
        alerts.join("; ")
    }
}

/// Reads until the last holder of the pipe is gone. Runs on a thread of its own.
pub(super) fn pass_on(from: impl Read, tail: &LogTail) {
    let limit = RateLimit::with_lines(LINES, Duration::from_secs(1));
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        if tail.repeats(line) {
            continue;
        }
        tail.push(line);
        let Some(left_out) = limit.due("") else {
            continue;
        };
        if left_out > 0 {
            tracing::warn!(target: "haproxy", "{left_out} more lines in the last second");
        }
        log_line(line);
    }
}

fn log_line(line: &str) {
    let text = message(line);
    match line.split(']').next() {
        Some("[ALERT") => tracing::error!(target: "haproxy", "{text}"),
        // Written for each part of a process that ends as it should.
        _ if text.contains(" stopped (cumulated conns") => {
            tracing::debug!(target: "haproxy", "{text}")
        }
        Some("[WARNING") => tracing::warn!(target: "haproxy", "{text}"),
        Some("[NOTICE") => tracing::debug!(target: "haproxy", "{text}"),
        // From `log stderr`: changes of servers and failed requests.
        _ => tracing::info!(target: "haproxy", "{text}"),
    }
}

/// Returns the line without its level and process number.
pub(super) fn message(line: &str) -> &str {
    if !line.starts_with('[') {
        return line;
    }
    match line.split_once(") : ") {
        Some((_, message)) => message,
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_explained_by_its_alerts() {
        let tail = LogTail::default();
        let said = "[NOTICE]   (7) : haproxy version is 2.6.12\n\
                    [ALERT]    (7) : Starting frontend http: cannot bind socket\n\n\
                    [ALERT]    (7) : [haproxy.main()] Some protocols failed to start\n";
        pass_on(said.as_bytes(), &tail);
        assert_eq!(
            tail.explain(),
            "Starting frontend http: cannot bind socket; [haproxy.main()] Some protocols failed to start"
        );
    }

    #[test]
    fn repeated_log_line_is_kept_once() {
        let tail = LogTail::default();
        pass_on(
            "[WARNING]  (7) : CLI : Server a is DOWN\nServer a is DOWN\n".as_bytes(),
            &tail,
        );
        assert_eq!(tail.explain(), "CLI : Server a is DOWN");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let tail = LogTail::default();
        let said: String = (0..100).map(|n| format!("line {n}\n")).collect();
        pass_on(said.as_bytes(), &tail);
        let kept = tail.explain();
        assert!(
            kept.starts_with("line 88;") && kept.ends_with("line 99"),
            "{kept}"
        );
    }
}
