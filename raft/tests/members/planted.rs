//! The bug that is planted in the check of callers is seen, in a process of its own.

use std::process::Command;

use quorate_planted::{Mutant, VARIABLE};

#[test]
fn planted_bug_in_caller_check_is_found() {
    let bug = Mutant::CallerNotCompared;
    let program = std::env::current_exe().expect("this test");
    let lived = Command::new(program)
        .args([
            "--exact",
            "tls::calls_under_another_certificate_change_nothing",
        ])
        .env(VARIABLE, bug.name())
        .output()
        .expect("this test can be run again");
    let told = String::from_utf8_lossy(&lived.stdout);
    println!("{bug}: {told}");
    // By a call that was taken, and by nothing else.
    let is_found = told.contains("raft/tests/members/tls.rs") && told.contains("unwrap_err");
    assert!(!lived.status.success() && is_found, "{bug} was not found");
}
