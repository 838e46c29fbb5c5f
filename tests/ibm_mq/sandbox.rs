//! A client library that was taken over has nothing of its member: the stand-in's tries, in its own
//! process, what it should not be able to.

use std::{fs, path::Path};

use quorate_ipc::{LocalRules, ProcessRules, SandboxMode};
use quorate_platform::file_sandbox;
use quorate_resources::Kind;
use quorate_types::Role;

use super::world::*;

/// A member that leads in term 2, whose library probes for this file.
fn probing(stand_in: &StandIn, file: &Path, sandbox: SandboxMode) -> SimulatedMember {
    let group = stand_in.group();
    let prober = with(stand_in.connection(), "username", "prober");
    let prober = with(prober, "password", file.to_str().unwrap());
    group.put(Kind::IbmMqConnection, prober);
    group.put(Kind::IbmMqChannel, channel());
    let rules = LocalRules {
        process: ProcessRules {
            sandbox,
            ..ProcessRules::default()
        },
        ..rules()
    };
    let member = SimulatedMember::start_ruled(&group, 1, 5000, Role::Voter, 200, rules);
    member.lead(2);
    member
}

// Test 58.
// guarantee: SECURITY-40
#[tokio::test(flavor = "multi_thread")]
async fn library_in_sandbox_reaches_nothing_of_member() {
    let mut stand_in = StandIn::start();
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("log");
    fs::write(&file, "password").unwrap();
    if file_sandbox::kernel_abi() > 0 {
        let member = probing(&stand_in, &file, SandboxMode::BestEffort);
        member.active("orders").await;
        stand_in.text("through");
        stand_in.depth("Q", 0).await;
        assert!(file.exists() && !data.path().join("new").exists());
    }
    // Without a sandbox it reaches all that, so the probe would have told.
    let member = probing(&stand_in, &file, SandboxMode::Off);
    complains(&member, "orders", "2035").await;
    assert!(!file.exists() && data.path().join("new").exists());
}
