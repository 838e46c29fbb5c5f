//! Channels and outgoings of ZeroMQ, with plain peers over libzmq.

use std::{net::Ipv4Addr, time::Duration};

use quorate_clock::Instant;
use serde_json::{Value, json};
use zmq::SocketType;

use super::{
    callers::Callers,
    handled::{handled, newest},
    peers::{self, PUSH_BUFFER, PUSH_QUEUE, PUSHED},
    round::{FAULTS, befall},
};
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    ports,
    takeovers::ServerFault,
    traffic::sink::MessageSink,
};

/// Most messages of a channel in flight, most that wait in libzmq for one peer, and most
/// that an outgoing that ends so has confirmed and not sent.
const IN_FLIGHT: usize = 100;
/// What is in the kernel's buffers for one connection: it doubles what a socket asks for,
/// 64 KiB here; libzmq reads and writes 8 KiB at a time.
const BUFFERED: usize = ((2 * 64 + 8 + 8) * 1024 + 2 * PUSH_BUFFER) / PUSHED;

fn address() -> String {
    format!("tcp://127.0.0.1:{}", ports::free())
}

/// Waits until so many messages of the channel began from now on.
async fn more(sink: &MessageSink, channel: &str, more: usize) {
    let from = sink.calls_len();
    eventually(&format!("more calls of {channel}"), SOON, || async {
        let calls = sink.calls_from(from);
        let now = calls.iter().filter(|call| call.channel == channel).count();
        (now >= more).then_some(()).ok_or(now.to_string())
    })
    .await;
}

async fn put(cluster: &TestCluster, kind: &str, resource: Value) {
    cluster.put(0, kind, resource).await;
}

// guarantee: MESSAGE-3, SEND-3, ZMQ-1, ZMQ-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zeromq_keeps_guarantees_under_server_faults() {
    const ALL: [&str; 5] = ["bound", "joined", "pulled", "pushing", "dealing"];
    let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, Duration::from_millis(5)).await;
    let mut cluster = TestCluster::three().await;
    put(
        &cluster,
        "service",
        json!({"name": "sink", "upstream": sink.url(), "timeout_ms": 5000}),
    )
    .await;
    let addresses = ALL.map(|_| address());
    let [bound, joined, pulled, pushing, dealing] = &addresses;
    let dealers = [
        peers::dealer("bound", false, bound),
        peers::dealer("joined", true, joined),
    ];
    let push = peers::push("pulled", pulled);
    let takers = [
        peers::taker(SocketType::PULL, pushing),
        peers::taker(SocketType::ROUTER, dealing),
    ];
    for (name, socket, method, address) in [
        ("bound", "ROUTER", "bind", bound),
        ("joined", "ROUTER", "connect", joined),
        ("pulled", "PULL", "connect", pulled),
    ] {
        let channel = json!({
            "name": name, "service": "sink", "address": address,
            "socket_type": socket, "method": method,
        });
        put(&cluster, "zmq_channel", channel).await;
    }
    for (name, socket, address) in [("pushing", "PUSH", pushing), ("dealing", "DEALER", dealing)] {
        let outgoing = json!({
            "name": name, "address": address, "socket_type": socket, "method": "connect",
        });
        put(&cluster, "zmq_outgoing", outgoing).await;
    }
    for name in ALL {
        cluster.connector_in(0, name, "active").await;
    }
    let pushers = Callers::start(&cluster, "zmq_outgoing", "pushing");
    let askers = Callers::start(&cluster, "zmq_outgoing", "dealing");
    let all_go_on = async || {
        tokio::join!(
            more(&sink, "joined", 100),
            more(&sink, "pulled", 100),
            pushers.confirm(50),
            askers.confirm(50),
        );
    };
    all_go_on().await;
    let mut rounds = Vec::new();
    for fault in FAULTS {
        let callers = [&pushers, &askers];
        let round = befall(
            &mut cluster,
            fault,
            &ALL,
            &callers,
            async |_, _| {},
            async |cluster, next| {
                all_go_on().await;
                // On this one host a stopped process has the address that the next would bind.
                if fault == ServerFault::StopProcesses {
                    let status = cluster.connector_in(next, "bound", "starting").await;
                    let error = status["last_error"].as_str().unwrap_or_default();
                    assert!(error.contains("another process has"), "{status}");
                } else {
                    more(&sink, "bound", 50).await;
                }
            },
        )
        .await;
        rounds.push(round);
        all_go_on().await;
        more(&sink, "bound", 50).await;
    }

    for (name, dealer) in ["bound", "joined"].into_iter().zip(dealers) {
        let dealt = dealer.finish().await;
        let handled = handled(&sink, name, &dealt.sent, &rounds);
        println!("{name}: {} sent again", dealt.again);
        assert!(handled.lost.is_empty(), "{:?}", handled.lost);
        let most = IN_FLIGHT * rounds.len();
        assert!(handled.repeated <= most, "{} again", handled.repeated);
    }
    let pushed = push.finish().await;
    eventually("nothing comes any more", SOON, || async {
        let newest = newest(&sink, "pulled").map(|at: Instant| at.elapsed());
        let quiet = newest.is_some_and(|since| since > Duration::from_millis(500));
        quiet.then_some(()).ok_or(format!("{newest:?}"))
    })
    .await;
    let handled = handled(&sink, "pulled", &pushed, &rounds);
    assert_eq!(handled.repeated, 0);
    let most = rounds.len() * (2 * IN_FLIGHT + PUSH_QUEUE + BUFFERED);
    assert!(handled.lost.len() <= most, "{} lost", handled.lost.len());

    let [pull, router] = takers;
    let told = pushers.finish().await;
    let sent = told.against("ZeroMQ PUSH", &pull.finish().await);
    assert!(
        sent.lost.len() <= IN_FLIGHT * rounds.len(),
        "{:?}",
        sent.lost
    );
    assert!(sent.twice.is_empty() && sent.denied.is_empty());
    let told = askers.finish().await;
    let sent = told.against("ZeroMQ DEALER", &router.finish().await);
    sent.is_as_told();
}
