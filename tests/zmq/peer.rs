//! Peers: `peer.py` as a process, and sockets of this program.

use std::{path::Path, process::Stdio, sync::Arc};

use parking_lot::Mutex;
use quorate_simulated_group::*;
use quorate_testkit::process::{ChildProcess, bound};

/// `peer.py`, ended when it is dropped.
pub struct Peer {
    _process: ChildProcess,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Starts it, and waits until it is ready.
    pub async fn start(role: &str, method: &str, address: &str, count: usize) -> Peer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zmq/peer.py");
        // Debian's own, for which python3-zmq is installed.
        let mut command = bound("/usr/bin/python3");
        command
            .arg(script)
            .args([role, method, address, &count.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let process = ChildProcess::spawn(command);
        let mut process = process.expect("/usr/bin/python3 is there: scripts/setup.sh installs it");
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (said, seen) = (process.lines(), lines.clone());
        std::thread::spawn(move || {
            for line in said {
                seen.lock().push(line);
            }
        });
        let peer = Peer {
            _process: process,
            lines,
        };
        peer.says("ready").await;
        peer
    }

    /// What it has printed that begins with this word, without it.
    pub fn said(&self, word: &str) -> Vec<String> {
        let lines = self.lines.lock();
        let after = |line: &String| {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            (first == word).then(|| rest.to_owned())
        };
        lines.iter().filter_map(after).collect()
    }

    /// Waits until it has printed a line that begins with this word.
    pub async fn says(&self, word: &str) {
        let said = async || (!self.said(word).is_empty()).then_some(());
        eventually(&format!("the peer says {word:?}"), said).await;
    }
}

/// A socket that gives up after [`WAIT`].
pub fn socket(kind: zmq::SocketType) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    let wait = i32::try_from(WAIT.as_millis()).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_immediate(true).unwrap();
    socket.set_rcvtimeo(wait).unwrap();
    socket.set_sndtimeo(wait).unwrap();
    socket
}
