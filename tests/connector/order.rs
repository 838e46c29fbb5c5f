//! `ordered: true`: messages are handled for the first time in the order in which they were
//! published, whatever happens meanwhile.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_supervisor::{ConnectorState, ConnectorStatus};
use quorate_testkit::process;
use serde_json::{Value, json};

use super::{load::*, world::*};

fn ordered(queue: &str) -> Value {
    let mut ordered = channel(queue);
    ordered["ordered"] = json!(true);
    ordered["prefetch"] = json!(10);
    ordered["on_failure"]["dead_letter"] = json!(format!("{queue}-dead"));
    ordered
}

async fn prepare(queue: &str) -> (BrokerClient, Arc<SimulatedGroup>) {
    let broker = broker().await;
    let client = broker.client().await;
    client.declare(queue).await;
    client.declare(&format!("{queue}-dead")).await;
    let group = group_with_channel(broker, queue);
    group.put(Kind::AmqpChannel, ordered(queue));
    (client, group)
}

/// What can't be handled at all.
fn is_poison(n: usize) -> bool {
    n % 50 == 49
}

/// Now and then a failure, a poisoned message, a refusal of the epoch.
fn moody(handled: &Handled, group: &SimulatedGroup) {
    let fenced = Mutex::new(BTreeSet::new());
    handled.serve(group, move |call, n| {
        let fails = n % 7 == 3 && call.attempt == 1;
        let fences = n % 97 == 5 && fenced.lock().insert(n);
        let code = match (is_poison(n), fails, fences) {
            (true, _, _) => 500,
            (_, true, _) => 503,
            (_, _, true) => 409,
            _ => 200,
        };
        (Duration::from_millis(4), code)
    });
}

fn signal(member: &SimulatedMember, queue: &str, what: Signal) -> u32 {
    let pid = member.status(queue).and_then(|status| status.pid).unwrap();
    process::signal(pid, what);
    pid
}

async fn another_process(member: &SimulatedMember, queue: &str, than: u32) {
    let another = |status: &ConnectorStatus| {
        status.state == ConnectorState::Active && status.pid.is_some_and(|pid| pid != than)
    };
    member.when(queue, "another process", another).await;
}

/// Stops the process, and again should somebody continue it: that was seen twice, beside
/// another suite, which signals processes too, and numbers of processes are used again.
async fn hangs_until_replaced(member: &SimulatedMember, queue: &str) {
    let pid = signal(member, queue, Signal::SIGSTOP);
    let stopping = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            process::send(Signal::SIGSTOP, &[pid]);
        }
    };
    tokio::select! {
        () = another_process(member, queue, pid) => (),
        () = stopping => (),
    }
}

// guarantee: MESSAGE-14
#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept_through_all_that_may_happen() {
    let queue = unique("ordered");
    let (client, group) = prepare(&queue).await;
    let handled = Handled::default();
    moody(&handled, &group);
    let (one, two) = (
        SimulatedMember::start(&group, 1, 500),
        SimulatedMember::start(&group, 2, 500),
    );
    one.lead(2);
    one.active(&queue).await;
    two.when(&queue, "standby", |status| {
        status.state == ConnectorState::Standby
    })
    .await;
    let load = Load::start(broker().await, &queue, Duration::from_millis(20)).await;
    let (mut now, mut then) = (&one, &two);
    let mut term = 2;
    for round in 0..4 {
        handled.more(40).await;
        let pid = signal(now, &queue, Signal::SIGKILL);
        another_process(now, &queue, pid).await;
        handled.more(40).await;

        // It hangs; its parent sees that, and starts another.
        hangs_until_replaced(now, &queue).await;
        handled.more(40).await;

        // The connector server is silent: its lease runs out while it believes to lead.
        now.beat(false);
        now.when(&queue, "the lease is over", |status| {
            status.state != ConnectorState::Active
        })
        .await;
        term += 1;
        then.lead(term);
        then.active(&queue).await;
        now.step_down(term);
        now.beat(true);
        std::mem::swap(&mut now, &mut then);
        handled.more(40).await;

        // Elected elsewhere: the lease is revoked at once.
        term += 1;
        now.step_down(term);
        then.lead(term);
        then.active(&queue).await;
        std::mem::swap(&mut now, &mut then);
        handled.more(40).await;

        // Another is elected, prepares, and loses the election.
        term += 1;
        now.step_down(term);
        then.elect(term, Instant::now());
        tokio::time::sleep(Duration::from_millis(10 * round)).await;
        term += 1;
        then.step_down(term);
        now.lead(term);
        now.active(&queue).await;
        handled.more(40).await;

        // A transfer.
        let _parted = now.handle.release(Duration::from_secs(5)).await;
        term += 1;
        now.step_down(term);
        then.lead(term);
        then.active(&queue).await;
        std::mem::swap(&mut now, &mut then);
        handled.more(40).await;

        // Other settings.
        let mut changed = ordered(&queue);
        changed["prefetch"] = json!([3, 10, 1, 20][round as usize]);
        group.put(Kind::AmqpChannel, changed);
    }
    handled.more(40).await;
    let published = load.finish().await;
    let expected: Vec<usize> = (0..published).filter(|n| !is_poison(*n)).collect();
    eventually("all are handled", async || {
        (handled.times().len() >= expected.len()).then_some(())
    })
    .await;
    drained(&client, now, &queue).await;

    let late = handled.out_of_order();
    println!(
        "{published} messages, {} handled again, {} out of order",
        handled.again(),
        late.len()
    );
    assert_eq!(handled.times().into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(late, Vec::<usize>::new());
    let mut dead = BTreeSet::new();
    while let Some(letter) = client.take(&format!("{queue}-dead")).await {
        dead.insert(
            String::from_utf8_lossy(&letter.data)
                .parse::<usize>()
                .unwrap(),
        );
    }
    let poison: BTreeSet<usize> = (0..published).filter(|n| is_poison(*n)).collect();
    assert_eq!(dead, poison);
}

/// What the old holder had taken in advance comes before all that is still in the queue, though
/// the call that it has under way takes its time.
// guarantee: MESSAGE-14
#[tokio::test(flavor = "multi_thread")]
async fn prefetched_messages_are_not_overtaken_after_lease_end() {
    for planned in [false, true] {
        let queue = unique("advance");
        let (client, group) = prepare(&queue).await;
        let handled = Handled::default();
        handled.serve(&group, |_, n| {
            let slow = if n == 3 { 500 } else { 5 };
            (Duration::from_millis(slow), 200)
        });
        let (one, two) = (
            SimulatedMember::start(&group, 1, 500),
            SimulatedMember::start(&group, 2, 500),
        );
        one.lead(2);
        one.active(&queue).await;
        two.when(&queue, "standby", |status| {
            status.state == ConnectorState::Standby
        })
        .await;
        client.publish(&queue, bodies(100)).await;
        eventually("the slow one is with the service", async || {
            handled.times().contains_key(&3).then_some(())
        })
        .await;
        let asked = Instant::now();
        let _parted = match planned {
            true => Some(one.handle.release(Duration::from_secs(5)).await),
            false => None,
        };
        one.step_down(3);
        two.lead(3);
        two.active(&queue).await;
        println!(
            "planned: {planned}; consumed again after {:?}",
            asked.elapsed()
        );
        drained(&client, &two, &queue).await;
        assert_eq!(handled.times().len(), 100);
        assert_eq!(handled.out_of_order(), Vec::<usize>::new(), "{planned}");
        // Released, the call that was under way is finished and acked.
        assert!(
            handled.again() <= usize::from(!planned),
            "{}",
            handled.again()
        );
    }
}

/// A failure holds up those behind it until it is settled.
// guarantee: MESSAGE-14
#[tokio::test(flavor = "multi_thread")]
async fn retry_holds_up_later_messages() {
    let queue = unique("holds");
    let (client, group) = prepare(&queue).await;
    let handled = Handled::default();
    handled.serve(&group, |call, n| {
        let code = if n == 2 && call.attempt < 3 { 500 } else { 200 };
        (Duration::ZERO, code)
    });
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    client.publish(&queue, bodies(6)).await;
    member
        .when(&queue, "all handled", |status| status.counts.handled == 6)
        .await;
    let calls = group.calls.lock();
    let asked: Vec<&str> = calls.iter().map(|call| call.body.as_str()).collect();
    assert_eq!(asked, ["0", "1", "2", "2", "2", "3", "4", "5"]);
}
