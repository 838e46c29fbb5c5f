//! Messages that were refused as of an old epoch, by the members' own count.

use std::collections::BTreeMap;

use reqwest::Method;

use crate::{cluster::TestCluster, http};

/// One by the connectors' processes, one by the members that were to run the service.
const METRICS: [&str; 2] = [
    "quorate_connector_messages_total",
    "quorate_service_calls_total",
];

/// Adds up counters that begin anew when their member is started again. What a member
/// counted between the last look and its kill is not seen.
#[derive(Default)]
pub struct Fenced {
    last: BTreeMap<String, u64>,
    sum: u64,
}

impl Fenced {
    /// Looks at every member.
    pub async fn look(&mut self, cluster: &TestCluster) -> u64 {
        for member in &cluster.members {
            let url = member.admin_url("/metrics");
            let Ok(answer) = http::call(Method::GET, &url, &[], "").await else {
                continue;
            };
            let now = count(&answer.text().await.unwrap_or_default());
            let last = self.last.insert(member.name.clone(), now).unwrap_or(0);
            self.sum += if now >= last { now - last } else { now };
        }
        self.sum
    }
}

fn count(metrics: &str) -> u64 {
    let ours = |line: &&str| METRICS.iter().any(|metric| line.starts_with(metric));
    let lines = metrics.lines().filter(ours);
    let fenced = lines.filter(|line| line.contains("outcome=\"fenced\""));
    let values = fenced.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}
