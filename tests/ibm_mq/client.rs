//! A program that uses IBM's client package for Python, `ibmmq`: `client.py` as a process.
//!
//! The package is IBM's and loads the MQI library at run time, which here is the stand-in's.
//! `scripts/setup.sh` installs it into a folder of its own. Where it is not, the tests say so
//! and pass; in CI only where the script has written down that it can't be had there.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
};

use quorate_testkit::process::{ChildProcess, bound};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::*;

/// The Python that has the package.
fn python() -> PathBuf {
    let cache = std::env::var_os("QUORATE_IBM_MQ_PYTHON");
    let home = std::env::var_os("HOME").unwrap_or_default();
    let installed = Path::new(&home).join(".cache/quorate/ibmmq/bin/python");
    cache.map_or(installed, PathBuf::from)
}

/// Written by `scripts/setup.sh` where the registry can't be reached, or has nothing for this
/// machine.
fn unavailable() -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    Path::new(&home).join(".cache/quorate/ibmmq.unavailable")
}

/// Says that a test is skipped, which in CI must not happen for want of a command.
fn skip(python: &Path, unavailable: bool, ci: bool) {
    let missing = format!(
        "IBM's Python package ibmmq is not at {}; `make setup` installs it where the registry can be reached",
        python.display()
    );
    assert!(unavailable || !ci, "{missing}");
    println!("skipped: {missing}");
}

/// One that runs, ended when it is dropped.
pub struct Client {
    _process: ChildProcess,
    orders: ChildStdin,
    answers: Receiver<String>,
    _library: TempDir,
}

impl Client {
    /// Starts one; `None`, with a message, where the package isn't.
    pub fn start(server: Option<&str>) -> Option<Client> {
        let python = python();
        if !python.exists() {
            let ci = std::env::var_os("CI").is_some_and(|it| it == "true");
            skip(&python, unavailable().exists(), ci);
            return None;
        }
        // The package looks for a library of this name.
        let folder = TempDir::new().unwrap();
        std::os::unix::fs::symlink(library(), folder.path().join("libmqm_r.so")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ibm_mq/client.py");
        let mut command = bound(python);
        command
            .arg(script)
            .env("LD_LIBRARY_PATH", folder.path())
            // Whatever the locale: what is read and written is UTF-8.
            .env("PYTHONUTF8", "1");
        match server {
            Some(server) => command.env("MQSERVER", server),
            None => command.env_remove("MQSERVER"),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = ChildProcess::spawn(command).unwrap();
        let mut all = process.lines();
        let (lines, answers) = channel();
        std::thread::spawn(move || {
            let _ = all
                .by_ref()
                .map(|line| lines.send(line))
                .find(Result::is_err);
        });
        Some(Client {
            orders: process.input(),
            _process: process,
            answers,
            _library: folder,
        })
    }

    /// One that is connected to this queue manager.
    pub fn connected(stand_in: &StandIn) -> Option<Client> {
        let mut client = Client::start(None)?;
        let address = format!("127.0.0.1({})", stand_in.port);
        client.does(
            json!({"do": "connect", "address": address, "user": "app", "password": "secret"}),
        );
        Some(client)
    }

    /// What it answers.
    pub fn asks(&mut self, order: Value) -> Value {
        writeln!(self.orders, "{order}").unwrap();
        let answer = self.answers.recv_timeout(WAIT);
        let answer = answer.unwrap_or_else(|error| panic!("{order} has no answer: {error}"));
        serde_json::from_str(&answer).unwrap()
    }

    /// The answer, which must not be a failure.
    pub fn does(&mut self, order: Value) -> Value {
        let answer = self.asks(order.clone());
        assert_eq!(answer.get("reason"), None, "{order}: {answer}");
        answer
    }

    /// The reason that MQ refuses it with.
    pub fn fails(&mut self, order: Value) -> i64 {
        let answer = self.asks(order.clone());
        let reason = answer["reason"].as_i64();
        reason.unwrap_or_else(|| panic!("{order} went well: {answer}"))
    }

    /// Opens a queue.
    pub fn open(&mut self, queue: &str, options: &[&str]) -> String {
        let opened = self.does(json!({"do": "open", "queue": queue, "options": options}));
        opened["queue"].as_str().unwrap().to_owned()
    }

    /// Gets a message from an open queue, for which it waits.
    pub fn gets(&mut self, queue: &str) -> Value {
        let wait = u64::try_from(WAIT.as_millis()).unwrap() / 2;
        self.does(json!({"do": "get", "queue": queue, "wait": wait}))
    }
}

#[test]
#[should_panic(expected = "`make setup` installs it")]
fn ci_does_not_skip_missing_setup_package() {
    skip(Path::new("/nowhere/python"), false, true);
}

#[test]
fn tests_without_obtainable_package_are_skipped() {
    skip(Path::new("/nowhere/python"), true, true);
    skip(Path::new("/nowhere/python"), false, false);
}
