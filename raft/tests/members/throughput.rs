//! Concurrent proposals share fsyncs.

use quorate_clock::Instant;

use crate::group::Group;

const WRITERS: u64 = 64;
const EACH: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_share_each_fsync() {
    let group = Group::start(3, 2000).await;
    for (what, at) in [
        ("leader", group.leader().unwrap()),
        ("follower", (group.leader().unwrap() + 1) % 3),
    ] {
        let leader = &group.all[group.leader().unwrap()];
        let before = leader.node().log_stats();
        let began = Instant::now();
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| {
                group.all[at].run(move |node| async move {
                    for i in 0..EACH {
                        let command = crate::machine::write(w * EACH + i, b"value");
                        let deadline = Instant::now() + crate::group::SOON;
                        node.propose(command, deadline).await.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let took = began.elapsed();
        let after = leader.node().log_stats();
        let (entries, fsyncs) = (after.entries - before.entries, after.fsyncs - before.fsyncs);
        let per_fsync = entries as f64 / fsyncs as f64;
        let per_second = (WRITERS * EACH) as f64 / took.as_secs_f64();
        println!("at the {what}: {per_fsync:.1} entries per fsync, {per_second:.0} writes/s");
        assert!(entries >= WRITERS * EACH);
        // The faster the disk, the fewer gather while it syncs; alone each would have its own.
        // The slower the way to the leader, the fewer.
        assert!(per_fsync > 4.0, "{per_fsync} entries per fsync");
    }
    group.same().await;
}
