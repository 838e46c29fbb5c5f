//! Snapshots of a large state: taken under writes, and sent to a member that was away.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_clock::Instant;
use quorate_raft::{NodeStartMode, SnapshotPolicy};

use crate::group::{Group, SOON, until, within};

const VALUE: usize = 128 * 1024;
const VALUES: u64 = 880;

fn files(dir: &Path, ending: &str) -> Vec<String> {
    let files = std::fs::read_dir(dir.join("snapshots")).unwrap();
    let names = files.map(|f| f.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(ending)).collect()
}

/// Writes `keys` through one member, a few at a time.
async fn fill(group: &Group, at: usize, keys: std::ops::Range<u64>) {
    let next = Arc::new(AtomicU64::new(keys.start));
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (next, end) = (next.clone(), keys.end);
            group.all[at].run(move |node| async move {
                loop {
                    let key = next.fetch_add(1, Ordering::Relaxed);
                    if key >= end {
                        return;
                    }
                    let command = crate::machine::write(key, &[key as u8; VALUE]);
                    node.propose(command, Instant::now() + SOON).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returning_member_gets_large_snapshot_under_writes() {
    let policy = SnapshotPolicy {
        entries: 1_000_000,
        bytes: 40 << 20,
        keep: 10,
    };
    let mut group = Group::start_with(3, 2000, policy).await;
    let leader = group.settled().await;
    let away = (leader + 1) % 3;
    fill(&group, leader, 0..VALUES / 2).await;
    group.all[away].stop().await;
    fill(&group, leader, VALUES / 2..VALUES).await;
    // Twice the bytes of the policy since the member left: its next entry is gone.
    let dir = group.all[leader].dir().to_owned();
    until("a snapshot of the leader", || {
        !files(&dir, ".snapshot").is_empty()
    })
    .await;

    let leader = group.settled().await;
    let over = Arc::new(AtomicBool::new(false));
    let going = over.clone();
    let writer = group.all[leader].run(move |node| async move {
        let mut key = 1_000_000;
        while !going.load(Ordering::Relaxed) {
            let command = crate::machine::write(key, b"small");
            node.propose(command, Instant::now() + SOON).await.unwrap();
            key += 1;
        }
        key - 1_000_000
    });

    // Killed midway, at whatever point it is found at: it leaves no more than a file that
    // is removed, and begins anew.
    let mut midway = 0;
    for _ in 0..5 {
        group.all[away].start(NodeStartMode::Resume).await;
        let one = &group.all[away];
        let dir = one.dir().to_owned();
        let receiving = || !files(&dir, ".tmp").is_empty();
        if within(Duration::from_secs(5), receiving).await {
            midway += 1;
        }
        group.all[away].kill();
    }
    assert!(midway > 0, "was never found receiving");
    let began = Instant::now();
    group.all[away].start(NodeStartMode::Resume).await;
    let one = &group.all[away];
    until("it has everything", || one.view.len() as u64 > VALUES).await;
    println!(
        "caught up by snapshot in {:?}, killed midway {midway} times",
        began.elapsed()
    );
    over.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    assert!(written > 20, "{written} writes went on meanwhile");
    group.all[away].read().await.unwrap();
    group.same().await;
    assert_eq!(group.all[away].view.len() as u64, VALUES + written);
    let size: usize = group.all[away]
        .view
        .all()
        .iter()
        .map(|(_, _, length)| length)
        .sum();
    assert!(size > 100 << 20, "{size} bytes");
    let dir = group.all[away].dir();
    assert!(!files(dir, ".snapshot").is_empty() && files(dir, ".tmp").is_empty());
    group.all[away].stop().await;
    group.all[away].start(NodeStartMode::Resume).await;
    group.all[away].read().await.unwrap();
    group.same().await;
}

/// The link carries what is written twenty times over, but not a snapshot in the time until
/// the next one is taken: what is written meanwhile must still be in the log then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_far_behind_catches_up_on_slow_link() {
    const RATE: u32 = 1_000_000;
    let policy = SnapshotPolicy {
        entries: 500,
        bytes: 4 << 20,
        keep: 50,
    };
    let mut group = Group::start_with(3, 2000, policy).await;
    let leader = group.settled().await;
    let away = (leader + 1) % 3;
    group.all[away].stop().await;
    // A state of 4 MiB, which that link takes four seconds for.
    fill(&group, leader, 0..32).await;
    let over = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (over, written) = (over.clone(), written.clone());
            group.all[leader].run(move |node| async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(8));
                while !over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let key = 1_000_000 + written.fetch_add(1, Ordering::Relaxed) % 1000;
                    let command = crate::machine::write(key, b"small");
                    node.propose(command, Instant::now() + SOON).await.unwrap();
                }
            })
        })
        .collect();
    until("two snapshots since it left", || {
        written.load(Ordering::Relaxed) > 1200
    })
    .await;
    let address = group.all[away].member.peer.clone();
    group.links.slow(&address, Some(RATE));
    group.all[away].start(NodeStartMode::Resume).await;
    let began = Instant::now();
    let before = written.load(Ordering::Relaxed);
    let (one, ahead) = (&group.all[away], &group.all[leader]);
    let abreast = || one.view.applied() > 0 && one.view.applied() + 100 > ahead.view.applied();
    let caught_up = within(Duration::from_secs(40), abreast).await;
    let meanwhile = written.load(Ordering::Relaxed) - before;
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    println!("{:?}, {meanwhile} writes meanwhile", began.elapsed());
    assert!(
        caught_up,
        "{} of {} entries are applied after {:?} and {meanwhile} writes",
        one.view.applied(),
        ahead.view.applied(),
        began.elapsed()
    );
    assert!(
        meanwhile > 550,
        "only {meanwhile} writes: no snapshot came between"
    );
    group.same().await;
}

#[tokio::test]
async fn snapshots_are_taken_by_entries_too() {
    let policy = SnapshotPolicy {
        entries: 100,
        bytes: 1 << 40,
        keep: 5,
    };
    let mut group = Group::start_with(3, 500, policy).await;
    for key in 0..250 {
        group.all[key as usize % 3].write(key).await.unwrap();
    }
    for one in &group.all {
        until("a snapshot", || !files(one.dir(), ".snapshot").is_empty()).await;
    }
    for one in &mut group.all {
        one.kill();
    }
    for one in &mut group.all {
        one.start(NodeStartMode::Resume).await;
    }
    group.settled().await;
    for one in &group.all {
        one.read().await.unwrap();
        assert_eq!(one.view.len(), 250);
    }
}
