//! A machine of its own for each member: links that are cut, and links on which a
//! firewall forges the death of a live leader.
//!
//! The broker and the service stay within everybody's reach, so that an old leader that
//! believed that it still leads would go on handling messages. What is checked each
//! time, over every call that the service saw: nothing confirmed is lost, and once a call
//! under an epoch has begun none under an older one begins. The service answers at once,
//! so no two calls under different epochs may run at the same time either.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    netns::NamespaceNet,
    rabbitmq::RabbitBroker,
    traffic::{reigns, sink::MessageSink, source::MessageSource, verdict},
};
use quorate_types::Timing;
use serde_json::json;

const CHANNEL: &str = "orders";
const FAILOVER_MS: u64 = 500;
const PREFETCH: usize = 10;

/// Three members in namespaces, busy with messages.
struct Bed {
    cluster: TestCluster,
    net: Arc<NamespaceNet>,
    sink: MessageSink,
    source: MessageSource,
    // Last: the others use it until they end.
    _rabbit: RabbitBroker,
}

impl Bed {
    /// `None`, with a message, where namespaces can't be had.
    async fn start(fence: &str, failover_ms: u64) -> Option<Bed> {
        let net = Arc::new(NamespaceNet::new(3)?);
        let rabbit = RabbitBroker::start_at(net.host()).await;
        rabbit.client().await.declare(CHANNEL).await;
        let sink = MessageSink::start_at(net.host(), Duration::ZERO).await;
        let cluster = TestCluster::start_in(&net, failover_ms, "").await;
        let service = json!({"name": "sink", "upstream": sink.url(), "timeout_ms": 2000});
        cluster.put(0, "service", service).await;
        let connection = json!({
            "name": "rabbit", "host": rabbit.address().to_string(), "port": rabbit.port(),
            "username": "guest", "password": "guest", "fence": fence,
        });
        cluster.put(0, "amqp_connection", connection).await;
        let channel = json!({
            "name": CHANNEL, "connection": "rabbit", "queue": CHANNEL, "service": "sink",
            "prefetch": PREFETCH,
            "on_failure": {"retries": 100, "backoff_ms": 50, "backoff_max_ms": 200},
        });
        cluster.put(0, "amqp_channel", channel).await;
        cluster.connector_in(0, CHANNEL, "active").await;
        let source = MessageSource::start(&rabbit, &[CHANNEL], Duration::from_millis(5)).await;
        let bed = Bed {
            cluster,
            net,
            sink,
            source,
            _rabbit: rabbit,
        };
        bed.handled(100).await;
        Some(bed)
    }

    /// Waits until the service has been called so often.
    async fn handled(&self, count: usize) {
        let mut calls = self.sink.count();
        let enough = calls.wait_for(|calls| *calls >= count);
        let waited = tokio::time::timeout(SOON, enough).await;
        waited.expect("messages are handled").expect("the service");
    }

    /// The leader and its reign, as member `asked` sees them.
    async fn reign(&self, asked: usize) -> Result<(usize, u64, u64), String> {
        let url = self.cluster.members[asked].admin_url("/v1/cluster/leader");
        let answer = http::get_json(&url).await?;
        let (server, epoch) = self.cluster.connector_server(asked).await?;
        let term = answer["term"].as_u64().ok_or(answer.to_string())?;
        Ok((server, term, epoch))
    }

    /// Waits for the first message handled under a newer epoch; gives the time since
    /// `fault` and the epoch.
    async fn next_reign(&self, epoch: u64, fault: Instant) -> (Duration, u64) {
        let until = fault + SOON;
        let first = self.sink.first_after(CHANNEL, epoch, 0, until).await;
        let (begun, newer) = first.expect("a message under a new epoch");
        (begun.saturating_duration_since(fault), newer)
    }

    /// Heals the net, lets everything be handled, and judges it.
    async fn judge(mut self) {
        self.net.heal();
        self.cluster.voters(3).await;
        let published = self.source.finish().await;
        eventually("every message handled", SOON, || async {
            let lost = verdict::lost(&published, &self.sink.calls());
            let some: Vec<_> = lost.iter().take(5).collect();
            lost.is_empty()
                .then_some(())
                .ok_or(format!("{} are not, as {some:?}", lost.len()))
        })
        .await;
        let calls = self.sink.calls();
        let stale = verdict::stale(&calls);
        assert!(stale.is_empty(), "stale calls: {stale:#?}");
        let overlaps = verdict::overlaps(&calls);
        assert!(overlaps.is_empty(), "two epochs at once: {overlaps:?}");
        let repeated = verdict::duplicates(&calls);
        let logs: Vec<_> = self.cluster.members.iter().map(|m| m.log()).collect();
        let reigns = reigns::read(logs.iter().map(|log| log.as_path()));
        assert!(reigns.problems.is_empty(), "{:#?}", reigns.problems);
        let takeovers = reigns.holders.len() - 1;
        // One prefetch for what the old process held, one for what it was handing on.
        let allowed = takeovers * 2 * PREFETCH;
        let sum: usize = repeated.values().sum();
        assert!(sum <= allowed, "{sum} duplicates: {repeated:?}");
        println!(
            "{} messages, {takeovers} takeovers, {sum} duplicates",
            published.len()
        );
    }
}

// guarantee: REIGN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_of_one_leader_link_changes_no_leader() {
    let Some(bed) = Bed::start("exclusive", FAILOVER_MS).await else {
        return;
    };
    let before = bed.reign(0).await.expect("a reign");
    let leader = before.0;
    let (cut, whole) = ((leader + 1) % 3, (leader + 2) % 3);
    bed.net.reset(leader, cut);
    let fault = Instant::now();
    let mut told = 0;
    while fault.elapsed() < Duration::from_secs(4) {
        for asked in [leader, whole] {
            // A member that has not heard from a quorum for a moment, on a busy machine,
            // says that it doesn't know; another leader it must never tell of.
            if let Ok(now) = bed.reign(asked).await {
                assert_eq!(now, before, "after {:?}", fault.elapsed());
                told += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(told > 20, "told {told} times who reigns");
    assert!(bed.net.met(leader) > 0, "the link was in use");
    let calls = bed.sink.calls();
    let since = calls.iter().filter(|call| call.begun > fault).count();
    assert!(since > 20, "{since} messages in 4 s");
    assert!(calls.iter().all(|call| call.epoch == before.2));
    // And it is not driven out by what the member that was cut off did meanwhile.
    bed.net.heal();
    bed.cluster.voters(3).await;
    for asked in 0..3 {
        let now = eventually("who reigns", SOON, || bed.reign(asked)).await;
        assert_eq!(now, before, "at member {asked}");
    }
    bed.judge().await;
}

/// The old leader lives, has its lease and is busy; the others see what a death looks like.
async fn all_links_reset(fence: &str) {
    let Some(bed) = Bed::start(fence, FAILOVER_MS).await else {
        return;
    };
    let (leader, _, epoch) = bed.reign(0).await.expect("a reign");
    let fault = Instant::now();
    bed.net.reset_all(leader);
    let (gap, newer) = bed.next_reign(epoch, fault).await;
    println!("{fence}, all links of the leader reset: next message after {gap:?}");
    assert!(bed.net.met(leader) > 0, "the links were in use");
    let survivor = (leader + 1) % 3;
    let (next, _, now) = eventually("a reign", SOON, || bed.reign(survivor)).await;
    assert_ne!(next, leader);
    assert_eq!(now, newer);
    bed.handled(bed.sink.calls().len() + 200).await;
    bed.judge().await;
}

// guarantee: REIGN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_death_makes_no_second_copy_fence_exclusive() {
    all_links_reset("exclusive").await;
}

// guarantee: REIGN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_death_makes_no_second_copy_fence_lease() {
    all_links_reset("lease").await;
}

/// Cut off from the members but not from the broker, the old leader falls silent in time.
async fn partitioned(fence: &str) {
    let Some(bed) = Bed::start(fence, FAILOVER_MS).await else {
        return;
    };
    let (leader, _, epoch) = bed.reign(0).await.expect("a reign");
    let fault = Instant::now();
    bed.net.cut_off(leader);
    let (gap, _) = bed.next_reign(epoch, fault).await;
    println!("{fence}, the leader cut off: next message after {gap:?}");
    assert!(gap <= Duration::from_millis(FAILOVER_MS), "{gap:?}");
    assert!(bed.net.met(leader) > 0, "the links were in use");
    // Still cut off, it runs nothing and says that it doesn't know who leads.
    bed.handled(bed.sink.calls().len() + 200).await;
    let told = bed.reign(leader).await;
    assert!(told.is_err(), "the old leader says {told:?}");
    bed.judge().await;
}

// guarantee: FAILOVER-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn isolated_leader_is_replaced_in_time_fence_exclusive() {
    partitioned("exclusive").await;
}

// guarantee: FAILOVER-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn isolated_leader_is_replaced_in_time_fence_lease() {
    partitioned("lease").await;
}

/// Voters that have been restarted don't remember when they last answered the old leader,
/// whose lease, long here, runs on: they must not make another act before it is over.
async fn restarted_voters(count: usize) {
    const LONG_MS: u64 = 4000;
    let timing = Timing::from_failover_ms(LONG_MS).expect("a promise");
    let Some(mut bed) = Bed::start("lease", LONG_MS).await else {
        return;
    };
    let (leader, _, epoch) = bed.reign(0).await.expect("a reign");
    let fault = Instant::now();
    bed.net.reset_all(leader);
    for voter in (1..=count).map(|n| (leader + n) % 3) {
        bed.cluster.members[voter].kill();
        bed.cluster.members[voter].start(&[]);
    }
    let restarted = Instant::now();
    let (gap, _) = bed.next_reign(epoch, fault).await;
    println!("all links reset, {count} voters restarted: next message after {gap:?}");
    // The test shows something only if the old lease outlived the restart.
    let calls = bed.sink.calls();
    let under_old = |call: &&_| {
        let call: &quorate_testkit::traffic::sink::SinkCall = call;
        call.epoch == epoch && call.begun > restarted
    };
    let old = calls.iter().filter(under_old).count();
    bed.handled(calls.len() + 100).await;
    bed.judge().await;
    assert!(old > 10, "{old} messages under the old lease");
    // Elected without a wait, the successor would now and then act too early, and now and
    // then not: the wait itself, by the start of the voter that forgot, is always seen.
    let since_restart = gap.saturating_sub(restarted - fault);
    assert!(
        since_restart >= timing.lease,
        "acts {since_restart:?} after the restart"
    );
}

// guarantee: LEASE-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voter_restarted_during_lease_makes_no_second_copy() {
    restarted_voters(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_voters_restarted_in_lease_make_no_duplicate() {
    restarted_voters(2).await;
}
