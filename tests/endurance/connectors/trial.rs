//! One number of connectors on a fresh cluster: started, measured, taken over.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use quorate_clock::Instant;
use quorate_testkit::{cluster::TestCluster, http, programs::QUORATE};
use serde_json::{Value, json};

use super::{
    super::footprint::{self, Process},
    mix::Connector,
    peers::Peers,
    round::{Round, round},
};

/// The longest that starting, one round, or a takeover may take.
const LIMIT: Duration = Duration::from_secs(120);
/// The default of `standby_max`, which the members run with.
pub const STANDBY_MAX: usize = 200;
/// Between two looks at the states: a thousand rows are some work.
const LOOK: Duration = Duration::from_millis(100);
/// A takeover tells of itself when all are active, or after 10 s.
const TOLD: Duration = Duration::from_secs(15);
/// By then threads that are kept for a while have ended: tokio keeps those for 10 s.
const QUIET: Duration = Duration::from_secs(12);
/// For how long it is watched how much processor time doing nothing takes.
const IDLE: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Default)]
pub struct Trial {
    pub connectors: Vec<Connector>,
    /// After the beginning of `quorate apply`: when it had ended.
    pub applied: Duration,
    /// When all were active.
    pub active: Duration,
    /// When the standbys were there.
    pub standing: Duration,
    /// One message through each.
    pub first_round: Round,
    pub active_processes: Vec<Process>,
    pub standby_processes: Vec<Process>,
    pub members: Vec<Process>,
    /// What the machine had less than before; KiB.
    pub machine: u64,
    /// Cores used while nothing is to be done: members, connectors that act, that stand by.
    pub idle: [f64; 3],
    /// After the kill: when the next connector server was known.
    pub reign: Duration,
    /// When a look first showed that all were active.
    pub all_active: Duration,
    /// What the takeover tells of itself.
    pub story: Value,
    pub round: Round,
    /// Terms: before the kill, when the next connector server was there, in the end.
    pub terms: [u64; 3],
    pub findings: Vec<String>,
}

/// Runs one.
pub async fn run(peers: &Peers, connectors: Vec<Connector>, failover_ms: u64) -> Trial {
    let mut trial = Trial {
        connectors,
        ..Trial::default()
    };
    peers.prepare(&trial.connectors).await;
    let before = footprint::available();
    let mut cluster = TestCluster::start(3, failover_ms, "").await;
    cluster.root.disable_cleanup(true);
    println!("logs: {}", cluster.root.path().display());
    trial.start(peers, &cluster).await;
    if trial.findings.is_empty() {
        trial.measure(&cluster, before).await;
        trial.take_over(peers, &mut cluster).await;
    }
    let keep = !trial.findings.is_empty() || quorate_testkit::cluster::keep();
    cluster.root.disable_cleanup(keep);
    trial
}

impl Trial {
    async fn start(&mut self, peers: &Peers, cluster: &TestCluster) {
        let (server, _) = cluster.serving(0).await;
        self.terms[0] = term(cluster, server).await;
        let begun = Instant::now();
        if let Err(problem) = apply(cluster, server, &self.documents(peers)).await {
            self.findings.push(problem);
            return;
        }
        self.applied = begun.elapsed();
        if let Err(problem) = all_active(cluster, server, 0, self.connectors.len()).await {
            self.findings.push(problem);
            return;
        }
        self.active = begun.elapsed();
        let (server, _) = cluster.serving(server).await;
        let wanted = self.connectors.len().min(STANDBY_MAX);
        for n in (0..3).filter(|n| *n != server) {
            let pid = cluster.members[n].pid();
            while standing(cluster, n).await < wanted {
                if begun.elapsed() > LIMIT {
                    let there = footprint::children(pid).len();
                    self.findings.push(format!(
                        "member {} has not {wanted} connectors that stand by but {there} processes",
                        n + 1
                    ));
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        self.standing = begun.elapsed();
        let begun = Instant::now();
        self.first_round = round(peers, cluster, &[0, 1, 2], &self.connectors, begun, LIMIT).await;
        self.complete("before the takeover", self.first_round.missing.clone());
    }

    fn documents(&self, peers: &Peers) -> Vec<Value> {
        let mut documents = vec![
            json!({"kind": "service", "name": "sink", "upstream": peers.sink.url()}),
            json!({
                "kind": "amqp_connection", "name": "rabbit", "host": "127.0.0.1",
                "port": peers.rabbit.port(), "username": "guest", "password": "guest",
            }),
        ];
        documents.push(peers.queue_manager.connection());
        documents.extend(self.connectors.iter().map(|it| it.document(peers)));
        documents
    }

    async fn measure(&mut self, cluster: &TestCluster, before: u64) {
        tokio::time::sleep(QUIET).await;
        let (server, _) = cluster.serving(0).await;
        let pids: Vec<u32> = cluster.members.iter().map(|member| member.pid()).collect();
        let acting = footprint::children(pids[server]);
        let others = (0..3).filter(|n| *n != server);
        let waiting: Vec<u32> = others.flat_map(|n| footprint::children(pids[n])).collect();
        let groups = [&pids, &acting, &waiting];
        let (begun, start) = (
            Instant::now(),
            groups.map(|group| footprint::seconds(group)),
        );
        tokio::time::sleep(IDLE).await;
        let end = groups.map(|group| footprint::seconds(group));
        let took = begun.elapsed().as_secs_f64();
        for (n, (start, end)) in start.iter().zip(&end).enumerate() {
            self.idle[n] = used(start, end) / took;
        }
        self.machine = before.saturating_sub(footprint::available());
        let read = |pids: &[u32]| pids.iter().filter_map(|pid| Process::of(*pid)).collect();
        self.active_processes = read(&acting);
        self.standby_processes = read(&waiting);
        self.members = read(&pids);
    }

    async fn take_over(&mut self, peers: &Peers, cluster: &mut TestCluster) {
        let (server, epoch) = cluster.serving(0).await;
        // Nobody has been elected since the start: thousands of processes did not hold up
        // the heartbeats.
        let now = term(cluster, server).await;
        if now != self.terms[0] {
            self.findings.push(format!(
                "an election while they were started: term {} became {now}",
                self.terms[0]
            ));
            self.terms[0] = now;
        }
        let survivors: Vec<_> = (0..3).filter(|n| *n != server).collect();
        let begun = Instant::now();
        cluster.members[server].kill();
        let messages = round(peers, cluster, &survivors, &self.connectors, begun, LIMIT);
        let reigns = async {
            loop {
                for n in &survivors {
                    if let Ok((next, later)) = cluster.connector_server(*n).await
                        && later > epoch
                    {
                        return (next, later, begun.elapsed());
                    }
                }
                if begun.elapsed() > LIMIT {
                    return (server, epoch, begun.elapsed());
                }
                tokio::time::sleep(LOOK / 10).await;
            }
        };
        let watching = async {
            let (next, later, reign) = reigns.await;
            let term = term(cluster, next).await;
            let active = all_active(cluster, next, later, self.connectors.len()).await;
            (next, reign, term, begun.elapsed(), active)
        };
        let (round, (next, reign, term_then, all_active, active)) =
            tokio::join!(messages, watching);
        self.findings.extend(active.err());
        self.round = round;
        self.complete("after the takeover", self.round.missing.clone());
        (self.reign, self.all_active) = (reign, all_active);
        self.terms[1] = term_then;
        self.story = story(cluster, next, epoch).await;
        self.terms[2] = term(cluster, next).await;
        if self.terms[2] != self.terms[1] {
            self.findings.push(format!(
                "an election after the takeover: term {} became {}",
                self.terms[1], self.terms[2]
            ));
        }
        if self.terms[1] != self.terms[0] + 1 {
            println!(
                "the takeover took terms {} to {}",
                self.terms[0], self.terms[1]
            );
        }
    }

    fn complete(&mut self, when: &str, missing: Vec<Connector>) {
        if let Some(first) = missing.first() {
            self.findings.push(format!(
                "{when} no message went through {} connectors, {}/{} for one",
                missing.len(),
                first.kind,
                first.name
            ));
        }
    }
}

/// Waits until the connector server, as member `asked` knows it, has so many active under
/// `epoch` or a newer one.
async fn all_active(
    cluster: &TestCluster,
    asked: usize,
    epoch: u64,
    count: usize,
) -> Result<(), String> {
    let begun = Instant::now();
    let mut seen = "nothing".to_owned();
    while begun.elapsed() < LIMIT {
        let rows = match cluster.connector_server(asked).await {
            Ok((server, _)) => rows(cluster, server).await,
            Err(problem) => Err(problem.to_string()),
        };
        match rows {
            Ok(rows) => {
                let active =
                    |row: &&Value| row["state"] == "active" && row["epoch"].as_u64() >= Some(epoch);
                let there = rows.iter().filter(active).count();
                if there == count {
                    return Ok(());
                }
                let troubled = rows.iter().find(|row| !row["last_error"].is_null());
                seen = format!("{there} active; {troubled:?}");
            }
            Err(problem) => seen = problem,
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(format!(
        "not all of {count} were active within {LIMIT:?}: {seen}"
    ))
}

fn used(start: &BTreeMap<u32, f64>, end: &BTreeMap<u32, f64>) -> f64 {
    let each = end
        .iter()
        .filter_map(|(pid, now)| Some(now - start.get(pid)?));
    each.sum()
}

async fn term(cluster: &TestCluster, at: usize) -> u64 {
    let url = cluster.members[at].admin_url("/v1/cluster/leader");
    let answer = http::get_json(&url).await.unwrap_or_default();
    answer["term"].as_u64().unwrap_or_default()
}

/// What is told of the takeover after that of `epoch`, as soon as it is.
async fn story(cluster: &TestCluster, at: usize, epoch: u64) -> Value {
    let url = cluster.members[at].admin_url("/v1/cluster/takeovers");
    let begun = Instant::now();
    while begun.elapsed() < TOLD {
        let told = http::get_json(&url).await.unwrap_or_default();
        let stories = told["takeovers"].as_array().cloned().unwrap_or_default();
        let later = |story: &Value| story["epoch"].as_u64() > Some(epoch);
        if let Some(story) = stories.into_iter().find(later) {
            return story;
        }
        tokio::time::sleep(LOOK).await;
    }
    Value::Null
}

/// The connector server's rows, without what the other members say.
async fn rows(cluster: &TestCluster, server: usize) -> Result<Vec<Value>, String> {
    let url = cluster.members[server].admin_url("/v1/connectors");
    let asked = http::call(reqwest::Method::GET, url, &[("quorate-passed-on", "1")], "");
    let answer = asked.await?;
    let status = answer.status();
    let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
    match answer["connectors"].take() {
        Value::Array(rows) if status == 200 => Ok(rows),
        _ => Err(answer.to_string()),
    }
}

/// How many connectors stand by at a member.
async fn standing(cluster: &TestCluster, member: usize) -> usize {
    let url = cluster.members[member].admin_url("/v1/member");
    let answer = http::get_json(&url).await.unwrap_or_default();
    let rows = answer["connectors"].as_array().cloned().unwrap_or_default();
    rows.iter().filter(|row| row["state"] == "standby").count()
}

/// `quorate apply` of all these.
async fn apply(cluster: &TestCluster, at: usize, documents: &[Value]) -> Result<(), String> {
    let text: String = documents
        .iter()
        .map(|document| format!("---\n{document}\n"))
        .collect();
    let file = cluster.root.path().join("connectors.yaml");
    let log = cluster.root.path().join("apply.log");
    write(&file, &text).map_err(|error| error.to_string())?;
    let output = std::fs::File::create(&log).map_err(|error| error.to_string())?;
    let mut command = Command::new(&*QUORATE);
    command
        .args(["apply", "--admin", &cluster.members[at].admin_url(""), "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(|error| error.to_string())?)
        .stderr(output);
    let ran = tokio::task::spawn_blocking(move || command.status()).await;
    match ran.expect("a thread") {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last = said.lines().last().unwrap_or_default();
            Err(format!("quorate apply: {status}: {last}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    std::fs::File::create(file)?.write_all(text.as_bytes())
}
