//! Commands that are pointed at a port of a member that is not its admin port.

use quorate_testkit::{cluster::TestCluster, programs::QUORATE};
use std::process::{Command, Stdio};

#[tokio::test]
async fn command_at_services_port_names_the_mistake() {
    let cluster = TestCluster::start(1, 500, "").await;
    let member = &cluster.members[0];
    let run = |arguments: &[&str], admin: &str| {
        let run = Command::new(&*QUORATE)
            .args(arguments)
            .env("QUORATE_ADMIN", admin)
            .stdin(Stdio::null())
            .output();
        let run = run.expect("a run");
        (
            run.status.code(),
            String::from_utf8_lossy(&run.stderr).into_owned(),
        )
    };
    let services = member.http_url("");
    for arguments in [
        &["status"][..],
        &["kv", "put", "a", "b"],
        &["kv", "watch"],
        &["get", "service"],
        &["connector", "pause", "zmq_channel", "z"],
    ] {
        let (code, told) = run(arguments, &services);
        assert_eq!(code, Some(3), "{arguments:?}: {told}");
        let port = told.contains(&services) && told.contains("not the admin port");
        assert!(port, "{arguments:?}: {told}");
    }
    // Beside the right one it does no harm.
    let both = format!("{services},{}", member.admin_url(""));
    assert_eq!(run(&["leader"], &both).0, Some(0));
}
