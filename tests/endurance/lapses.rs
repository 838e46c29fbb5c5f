//! Lapses of the lease, as the members' logs tell them.

use quorate_testkit::cluster::TestCluster;
use std::fs;

/// How often the connector server's lease has lapsed so far, as the members' logs say.
pub fn count(cluster: &TestCluster) -> usize {
    let logs = cluster.members.iter().map(|member| member.log());
    let texts = logs.map(|log| fs::read_to_string(log).expect("a log"));
    let lapsed = |line: &&str| line.contains("does not act") && line.contains("lapsed=true");
    texts.map(|text| text.lines().filter(lapsed).count()).sum()
}
