//! Callers that have messages sent by an outgoing all the while, and what they were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
};
use reqwest::Method;
use serde_json::Value;
use tokio::{task::JoinSet, time::MissedTickBehavior};

const CALLERS: usize = 8;
/// Between two messages of one caller.
const PACE: Duration = Duration::from_millis(15);
/// How often a message under a key is tried before its caller gives it up.
const TRIES: usize = 20;

/// How a caller calls.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Waits for as long as a takeover may take.
    Patient,
    /// Has no time for a takeover.
    Hasty,
    /// Little time, but under a key for each message, trying again what was not confirmed.
    Keyed,
}

/// What callers were told.
#[derive(Default)]
pub struct Told {
    pub confirmed: BTreeSet<String>,
    pub unknown: BTreeSet<String>,
    pub not_sent: BTreeSet<String>,
    /// Calls beyond the first of a message.
    again: usize,
    longest_call: Duration,
    last_confirm: Option<Instant>,
    longest_gap: Duration,
}

struct Shared {
    urls: Vec<String>,
    /// Whom they may ask, and how many calls are under way at each.
    open: Mutex<Vec<usize>>,
    busy: Vec<AtomicUsize>,
    done: AtomicBool,
    told: Mutex<Told>,
}

/// The callers of one outgoing.
pub struct Callers {
    name: String,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Callers {
    /// Starts them. Bodies are `NAME-CALLER-NUMBER`, each once.
    pub fn start(cluster: &TestCluster, kind: &str, name: &str) -> Callers {
        let path = format!("/v1/outgoing/{kind}/{name}/send");
        let shared = Arc::new(Shared {
            urls: cluster.members.iter().map(|m| m.admin_url(&path)).collect(),
            open: Mutex::new((0..cluster.members.len()).collect()),
            busy: cluster
                .members
                .iter()
                .map(|_| AtomicUsize::new(0))
                .collect(),
            done: AtomicBool::new(false),
            told: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for caller in 0..CALLERS {
            let manner = match caller % 4 {
                0 | 1 => Manner::Patient,
                2 => Manner::Hasty,
                _ => Manner::Keyed,
            };
            let (name, shared) = (name.to_owned(), shared.clone());
            tasks.spawn(async move {
                let mut ticks = tokio::time::interval(PACE);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for n in 0_u64.. {
                    ticks.tick().await;
                    if shared.done.load(Ordering::SeqCst) {
                        return;
                    }
                    let body = format!("{name}-{caller}-{n:05}");
                    shared.send(caller, manner, body).await;
                }
            });
        }
        Callers {
            name: name.to_owned(),
            shared,
            tasks,
        }
    }

    /// They leave this member alone; returns when none of them waits for it any more.
    pub async fn leave(&self, at: usize) {
        self.shared.open.lock().retain(|it| *it != at);
        eventually("nobody waits for the member", SOON, || async {
            match self.shared.busy[at].load(Ordering::SeqCst) {
                0 => Ok(()),
                busy => Err(busy.to_string()),
            }
        })
        .await;
    }

    /// They ask this member too.
    pub fn back(&self, at: usize) {
        self.shared.open.lock().push(at);
    }

    /// Waits until so many more are confirmed.
    pub async fn confirm(&self, more: usize) {
        let confirmed = || self.shared.told.lock().confirmed.len();
        let from = confirmed();
        eventually(
            &format!("more of {} confirmed", self.name),
            SOON,
            || async {
                let now = confirmed() - from;
                (now >= more).then_some(()).ok_or(now.to_string())
            },
        )
        .await;
    }

    /// Ends them; gives what they were told.
    pub async fn finish(self) -> Told {
        self.shared.done.store(true, Ordering::SeqCst);
        self.tasks.join_all().await;
        std::mem::take(&mut self.shared.told.lock())
    }
}

impl Shared {
    async fn send(&self, caller: usize, manner: Manner, body: String) {
        let within = match manner {
            Manner::Patient => "6000",
            Manner::Hasty => "200",
            Manner::Keyed => "400",
        };
        let mut headers = vec![("quorate-within-ms", within)];
        let mut tries = 1;
        if manner == Manner::Keyed {
            headers.push(("quorate-idempotency-key", &body));
            tries = TRIES;
        }
        let mut unknown = false;
        for n in 0..tries {
            if n > 0 {
                tokio::time::sleep(PACE).await;
            }
            let began = Instant::now();
            let (status, code) = self.call(caller, &headers, &body).await;
            let mut told = self.told.lock();
            told.again += usize::from(n > 0);
            told.longest_call = told.longest_call.max(began.elapsed());
            match (status, code.as_str()) {
                (200, _) => {
                    let now = Instant::now();
                    if let Some(last) = told.last_confirm.replace(now) {
                        told.longest_gap = told.longest_gap.max(now - last);
                    }
                    told.confirmed.insert(body);
                    return;
                }
                (504, "unknown_outcome") => unknown = true,
                (503, "unavailable") => {}
                _ => panic!("{body}: {status} {code}"),
            }
        }
        let mut told = self.told.lock();
        match unknown {
            true => told.unknown.insert(body),
            false => told.not_sent.insert(body),
        };
    }

    /// The status and the problem's code.
    async fn call(&self, caller: usize, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let at = {
            let open = self.open.lock();
            let at = open[caller % open.len()];
            self.busy[at].fetch_add(1, Ordering::SeqCst);
            at
        };
        let answer = http::call(Method::POST, &self.urls[at], headers, body.to_owned()).await;
        let answer = answer.expect("a live member answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a whole answer");
        self.busy[at].fetch_sub(1, Ordering::SeqCst);
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        (
            status,
            problem["code"].as_str().unwrap_or_default().to_owned(),
        )
    }
}

/// What became of the messages: what was told, beside what is there.
pub struct Sent {
    /// Confirmed, and not there.
    pub lost: Vec<String>,
    /// There more than once.
    pub twice: Vec<String>,
    /// Told as not sent, and there.
    pub denied: Vec<String>,
}

impl Sent {
    /// What was confirmed is there once, and what was told as not sent isn't.
    pub fn is_as_told(&self) {
        assert!(self.lost.is_empty(), "lost {:?}", self.lost);
        assert!(self.twice.is_empty(), "twice {:?}", self.twice);
        assert!(
            self.denied.is_empty(),
            "there all the same {:?}",
            self.denied
        );
    }
}

impl Told {
    /// Compares it with how often each body is there; tells the counts.
    pub fn against(&self, what: &str, there: &BTreeMap<String, usize>) -> Sent {
        let found = |body: &&String| there.contains_key(*body);
        let unknown = self.unknown.iter().filter(found).count();
        let lost = self.confirmed.iter().filter(|body| !found(body));
        let twice = there.iter().filter(|(_, times)| **times > 1);
        let denied = self.not_sent.iter().filter(found);
        let sent = Sent {
            lost: lost.cloned().collect(),
            twice: twice.map(|(body, _)| body.clone()).collect(),
            denied: denied.cloned().collect(),
        };
        println!(
            "{what}: {} confirmed, of them {} lost; {} unknown, of them {unknown} there; {} not sent, of them {} there; \
             {} there twice; {} calls again; the longest call {:?}, the longest time without a confirm {:?}",
            self.confirmed.len(),
            sent.lost.len(),
            self.unknown.len(),
            self.not_sent.len(),
            sent.denied.len(),
            sent.twice.len(),
            self.again,
            self.longest_call,
            self.longest_gap,
        );
        let all = [&self.confirmed, &self.unknown, &self.not_sent];
        let stray: Vec<_> = there
            .keys()
            .filter(|body| !all.iter().any(|told| told.contains(*body)))
            .collect();
        assert!(stray.is_empty(), "nobody sent {stray:?}");
        assert!(self.confirmed.len() > 300, "there was load");
        sent
    }
}
