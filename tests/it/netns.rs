//! The namespaces themselves: what the tests in them lean on.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    netns::NamespaceNet,
};
use reqwest::Method;

/// Runs a line of bash in namespace `from`, with a connection to `to` as descriptor 3.
fn connected(net: &NamespaceNet, from: usize, to: (Ipv4Addr, u16), then: &str) -> Child {
    let line = format!("exec 3<>/dev/tcp/{}/{} && {then}", to.0, to.1);
    let mut command = net.command(from, "timeout");
    command.args(["1", "bash", "-c", &line]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("bash")
}

/// How a try to connect ends, and after how long.
fn attempt(net: &NamespaceNet, from: usize, to: (Ipv4Addr, u16)) -> (ExitStatus, Duration) {
    let start = Instant::now();
    let status = connected(net, from, to, "true").wait();
    (status.expect("bash"), start.elapsed())
}

#[tokio::test]
async fn namespace_links_are_cut_reset_and_healed() {
    const TIMED_OUT: i32 = 124;
    let Some(net) = NamespaceNet::new(2).map(Arc::new) else {
        return;
    };
    let cluster = TestCluster::start_in(&net, 500, "").await;
    let admin = (net.address(0), cluster.members[0].admin);
    assert!(attempt(&net, 1, admin).0.success());

    net.cut(0, 1);
    assert_eq!(attempt(&net, 1, admin).0.code(), Some(TIMED_OUT));
    assert!(net.met(0) > 0, "the cut met packets");
    let live = cluster.members[0].admin_url("/health/live");
    let answer = http::call(Method::GET, &live, &[], "").await;
    assert_eq!(answer.expect("reached from the host").status(), 200);
    net.heal();
    assert!(attempt(&net, 1, admin).0.success());

    // A connection on which nothing is sent ends too, and no other begins.
    let mut idle = connected(&net, 1, admin, "read -u 3");
    eventually("the connection", SOON, || async {
        let mut ss = net.command(0, "ss");
        let address = net.address(1).to_string();
        let port = format!(":{}", admin.1);
        ss.args([
            "-tHn",
            "state",
            "established",
            "dst",
            &address,
            "sport",
            "=",
            &port,
        ]);
        let seen = ss.output().expect("ss").stdout;
        (!seen.is_empty()).then_some(()).ok_or("none")
    })
    .await;
    net.reset_all(0);
    let ended = idle.wait().expect("bash");
    assert!(
        !ended.success() && ended.code() != Some(TIMED_OUT),
        "{ended}"
    );
    let (refused, took) = attempt(&net, 1, admin);
    assert_eq!(refused.code(), Some(1));
    assert!(took < Duration::from_millis(500), "refused after {took:?}");
    assert!(net.met(0) > 0, "the resets met packets");
    let answer = http::call(Method::GET, &live, &[], "").await;
    assert_eq!(answer.expect("reached from the host").status(), 200);
    net.heal();
    assert!(attempt(&net, 1, admin).0.success());

    cluster.voters(2).await;
    let names: Vec<_> = (0..2).map(|n| net.namespace(n)).collect();
    drop(cluster);
    drop(net);
    for name in names {
        assert!(!Path::new("/sys/class/net").join(&name).exists());
        assert!(!Path::new("/run/netns").join(&name).exists());
    }
}
