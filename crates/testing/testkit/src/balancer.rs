//! HAProxy in front of a cluster, as `quorate balancer` keeps it.

use std::{
    fs::{self, File},
    process::{ExitStatus, Stdio},
};

use nix::sys::signal::Signal;

use crate::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http, ports,
    process::{ChildProcess, bound},
    programs::QUORATE,
};

/// `quorate balancer` in front of a cluster; stopped in order, as HAProxy ends with it.
pub struct BalancerProcess {
    process: ChildProcess,
    url: String,
}

impl BalancerProcess {
    /// Starts it and waits until it serves.
    pub async fn start(cluster: &TestCluster) -> BalancerProcess {
        BalancerProcess::start_with(cluster, "").await
    }

    /// Starts it with more settings.
    pub async fn start_with(cluster: &TestCluster, extra: &str) -> BalancerProcess {
        let log = File::create(cluster.root.path().join("balancer.log"));
        BalancerProcess::start_as(cluster, extra, log.expect("a log")).await
    }

    /// Starts it with this output.
    pub async fn start_saying_to(cluster: &TestCluster, log: File) -> BalancerProcess {
        BalancerProcess::start_as(cluster, "", log).await
    }

    async fn start_as(cluster: &TestCluster, extra: &str, log: File) -> BalancerProcess {
        let port = ports::free();
        let dir = cluster.root.path().join("balancer");
        fs::create_dir_all(&dir).expect("a folder");
        let seeds: Vec<_> = cluster.members.iter().map(|m| m.admin_url("")).collect();
        let text = format!("bind = \"127.0.0.1:{port}\"\nmembers = {seeds:?}\n{extra}\n");
        let config = dir.join("balancer.toml");
        fs::write(&config, text).expect("a file");
        let mut command = bound(&*QUORATE);
        command.args(["balancer", "--config"]).arg(&config);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        let balancer = BalancerProcess {
            process: ChildProcess::spawn(command).expect("the balancer"),
            url: format!("http://127.0.0.1:{port}"),
        };
        eventually("the balancer", SOON, || {
            http::succeeds(balancer.at("/zato/ping"))
        })
        .await;
        balancer
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends SIGTERM, and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        self.process.stop_within(SOON).expect("its end")
    }

    /// Returns the port on which it listens.
    pub fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next().and_then(|it| it.parse().ok());
        port.expect("a port")
    }

    /// Returns a path at its own address.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Drop for BalancerProcess {
    fn drop(&mut self) {
        self.process.stop_within(SOON);
    }
}
