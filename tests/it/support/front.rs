//! HAProxy in front of a cluster, as `quorate balancer` keeps it.

use std::process::{Child, Command, Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;

use super::{
    cluster::{Cluster, SOON},
    http,
    member::QUORATE,
    ports,
    wait::until,
};

/// `quorate balancer` in front of a cluster.
pub struct Balancer {
    child: Child,
    url: String,
}

impl Balancer {
    /// Starts it and waits until it serves.
    pub async fn start(cluster: &Cluster) -> Balancer {
        Balancer::start_with(cluster, "").await
    }

    /// The same with more settings.
    pub async fn start_with(cluster: &Cluster, extra: &str) -> Balancer {
        let dir = cluster.root.path().join("balancer");
        std::fs::create_dir_all(&dir).expect("a folder");
        let log = std::fs::File::create(dir.join("balancer.log")).expect("a log");
        Balancer::start_as(cluster, extra, log).await
    }

    /// The same with this stderr.
    pub async fn start_saying_to(cluster: &Cluster, log: std::fs::File) -> Balancer {
        Balancer::start_as(cluster, "", log).await
    }

    async fn start_as(cluster: &Cluster, extra: &str, log: std::fs::File) -> Balancer {
        let port = ports::free();
        let dir = cluster.root.path().join("balancer");
        std::fs::create_dir_all(&dir).expect("a folder");
        let seeds: Vec<_> = cluster.members.iter().map(|m| m.admin_url("")).collect();
        let text = format!("bind = \"127.0.0.1:{port}\"\nmembers = {seeds:?}\n{extra}\n");
        let config = dir.join("balancer.toml");
        std::fs::write(&config, text).expect("a file");
        let child = Command::new(QUORATE)
            .args(["balancer", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the balancer");
        let balancer = Balancer {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        until("the balancer", SOON, || async {
            let answer = http::call(Method::GET, balancer.at("/zato/ping"), &[], "").await?;
            match answer.status().as_u16() {
                200 => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
        balancer
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a signal");
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(mut self) -> std::process::ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().expect("its end")
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next().and_then(|it| it.parse().ok());
        port.expect("a port")
    }

    /// A path at its own address.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
