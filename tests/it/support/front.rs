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
        let port = ports::free();
        let dir = cluster.root.path().join("balancer");
        std::fs::create_dir_all(&dir).expect("a folder");
        let seeds: Vec<_> = cluster.members.iter().map(|m| m.admin_url("")).collect();
        let text = format!("bind = \"127.0.0.1:{port}\"\nmembers = {seeds:?}\n{extra}\n");
        let config = dir.join("balancer.toml");
        std::fs::write(&config, text).expect("a file");
        let log = std::fs::File::create(dir.join("balancer.log")).expect("a log");
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

    /// A path at its own address.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
