//! Links that carry less than what is written: the log waits, heartbeats don't.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_clock::Instant;

use crate::group::{Group, SOON, until};

const VALUE: usize = 1 << 20;

/// Each connection carries 8 MB/s: a value in an eighth of a second, and all that one stream
/// may have under way in more than a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_do_not_wait_behind_the_log() {
    const RATE: u32 = 8_000_000;
    let group = Group::start(3, 500).await;
    let leader = group.settled().await;
    let one = &group.all[leader];
    let term = one.node().leadership().borrow().term;
    group.links.slow(&one.member.peer, Some(RATE));

    let over = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..16)
        .map(|key| {
            let (over, written) = (over.clone(), written.clone());
            one.run(move |node| async move {
                let value = vec![key as u8; VALUE];
                while !over.load(Ordering::Relaxed) {
                    let command = crate::machine::write(key, &value);
                    let done = node.propose(command, Instant::now() + SOON).await;
                    if done.is_ok() {
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    until("the stream is full", || written.load(Ordering::Relaxed) > 4).await;
    let began = Instant::now();
    let (mut longest, mut lapses, mut lapsed) = (Duration::ZERO, 0, false);
    let mut seen = one.node().leadership();
    while began.elapsed() < Duration::from_secs(8) {
        let now = *seen.borrow_and_update();
        assert_eq!((now.term, now.leading), (term, true), "an election");
        let age = now.heard_at.map_or(Duration::MAX, |at| at.elapsed());
        longest = longest.max(age);
        lapses += u32::from(age > one.timing.lease && !lapsed);
        lapsed = age > one.timing.lease;
        let _ = tokio::time::timeout(Duration::from_millis(5), seen.changed()).await;
    }
    over.store(true, Ordering::Relaxed);
    println!(
        "{} values written; not heard for {longest:?} at most, {lapses} lapses",
        written.load(Ordering::Relaxed)
    );
    group.links.slow(&one.member.peer, None);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(lapses, 0, "not heard for {longest:?}");
}
