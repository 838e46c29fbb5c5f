//! Threads of plain programs on the other side of connectors: they send at an even pace, or
//! take what comes, until they are told to end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use quorate_clock::Instant;
use zmq::{DONTWAIT, Error, Socket, SocketType};

/// Between two messages of a sender.
pub const PACE: Duration = Duration::from_millis(5);
/// How long the DEALER waits for an answer before it sends again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many of its messages may be unanswered.
const UNANSWERED_MAX: usize = 50;
/// The length of what PUSH sends, so that buffers in bytes bound a number of messages.
pub const PUSHED: usize = 1000;
/// How many messages PUSH queues for each connection, and what it asks of the kernel.
pub const PUSH_QUEUE: usize = 10;
pub const PUSH_BUFFER: usize = 16 << 10;
/// For how long nothing comes once all has come.
const QUIET: Duration = Duration::from_millis(500);
/// How long the last messages may take.
const LAST: Duration = Duration::from_secs(60);

/// A thread that gives what it has when it is told to end.
pub struct Peer<T> {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Peer<T> {
    /// `run` is given what tells whether it is over.
    pub fn start(run: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static) -> Peer<T> {
        let over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let over = over.clone();
            move || run(&|| over.load(Ordering::SeqCst))
        });
        Peer {
            over,
            thread: Some(thread),
        }
    }

    /// Tells it to end; gives what it has.
    pub async fn finish(mut self) -> T {
        self.over.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("it is finished once");
        let joining = tokio::task::spawn_blocking(move || thread.join());
        joining.await.expect("no panic").expect("a peer's thread")
    }
}

impl<T> Drop for Peer<T> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

fn socket(kind: SocketType) -> Socket {
    let socket = zmq::Context::new().socket(kind).expect("a socket");
    socket.set_linger(0).expect("an option");
    socket.set_immediate(true).expect("an option");
    socket
}

/// What a DEALER that sends again until it is answered has sent, and how often again.
pub struct Dealt {
    pub sent: BTreeSet<String>,
    pub again: usize,
}

/// A DEALER as docs/connectors/zeromq.md wants it: bound, or connected to what members bind.
pub fn dealer(name: &str, bind: bool, address: &str) -> Peer<Dealt> {
    let dealer = socket(SocketType::DEALER);
    dealer.set_heartbeat_ivl(500).expect("an option");
    dealer.set_heartbeat_timeout(2000).expect("an option");
    dealer.set_identity(name.as_bytes()).expect("an option");
    if bind {
        dealer.bind(address).expect("a free address");
    } else {
        dealer.connect(address).expect("an address");
    }
    let name = name.to_owned();
    Peer::start(move |over| deal(&dealer, &name, over))
}

fn deal(dealer: &Socket, name: &str, over: &dyn Fn() -> bool) -> Dealt {
    let (mut sent, mut again) = (BTreeSet::new(), 0);
    let mut unanswered: BTreeMap<String, Instant> = BTreeMap::new();
    let send = |body: &str| match dealer.send_multipart([body, body], DONTWAIT) {
        Ok(()) => true,
        // No member is there, or none takes more.
        Err(Error::EAGAIN) => false,
        Err(error) => panic!("{error}"),
    };
    let mut next = Instant::now();
    let mut deadline = None;
    loop {
        let now = Instant::now();
        if over() {
            let deadline = *deadline.get_or_insert(now + LAST);
            assert!(now < deadline, "{} are unanswered", unanswered.len());
            if unanswered.is_empty() {
                return Dealt { sent, again };
            }
        } else if now >= next && unanswered.len() < UNANSWERED_MAX {
            next = now + PACE;
            let body = format!("{name}-{:05}", sent.len());
            if send(&body) {
                unanswered.insert(body.clone(), now);
                sent.insert(body);
            }
        }
        for (body, last) in &mut unanswered {
            if now - *last > PATIENCE && send(body) {
                again += 1;
                *last = now;
            }
        }
        if dealer.poll(zmq::POLLIN, 2).expect("a poll") > 0 {
            while let Ok(frames) = dealer.recv_multipart(DONTWAIT) {
                assert_eq!(frames[1], b"ACK", "{frames:?}");
                unanswered.remove(&*String::from_utf8_lossy(&frames[0]));
            }
        }
    }
}

/// A bound PUSH with small queues; gives what libzmq took. It stays open until it is over.
pub fn push(name: &str, address: &str) -> Peer<BTreeSet<String>> {
    let push = socket(SocketType::PUSH);
    push.set_sndhwm(PUSH_QUEUE as i32).expect("an option");
    push.set_sndbuf(PUSH_BUFFER as i32).expect("an option");
    push.bind(address).expect("a free address");
    let name = name.to_owned();
    Peer::start(move |over| {
        let mut sent = BTreeSet::new();
        let mut next = Instant::now();
        while !over() {
            let body = format!("{name}-{:05}", sent.len());
            match push.send(&format!("{body:<PUSHED$}"), DONTWAIT) {
                Ok(()) => drop(sent.insert(body)),
                Err(Error::EAGAIN) => {}
                Err(error) => panic!("{error}"),
            }
            next += PACE;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        // What is queued leaves.
        push.set_linger(5000).expect("an option");
        sent
    })
}

/// A bound PULL, or a bound ROUTER that answers `ACK`; gives how often each body came.
pub fn taker(kind: SocketType, address: &str) -> Peer<BTreeMap<String, usize>> {
    let taker = socket(kind);
    taker.bind(address).expect("a free address");
    Peer::start(move |over| {
        let mut there = BTreeMap::new();
        let mut last = Instant::now();
        while !over() || last.elapsed() < QUIET {
            if taker.poll(zmq::POLLIN, 20).expect("a poll") == 0 {
                continue;
            }
            let mut frames = taker.recv_multipart(0).expect("a message");
            last = Instant::now();
            let body = frames.pop().expect("a body");
            let body = String::from_utf8(body).expect("text");
            *there.entry(body).or_default() += 1;
            if kind == SocketType::ROUTER {
                frames.push(b"ACK".to_vec());
                // Whoever asked may be gone.
                let _ = taker.send_multipart(frames, DONTWAIT);
            }
        }
        there
    })
}
