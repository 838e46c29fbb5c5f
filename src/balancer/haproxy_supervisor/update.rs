//! Changes of the running HAProxy, by which it follows the file in force.

use std::io;

use quorate_clock::Instant;

use super::{HaproxySupervisor, PAUSE};
use crate::balancer::{backend_servers::BackendServer, render};

impl HaproxySupervisor {
    /// Reconciles over the runtime socket; by a new process when that fails.
    pub(super) async fn reconcile(&mut self) {
        if self.process.is_none() {
            // Its next start reads the file.
            return;
        }
        if self.running_wait < self.wanted.longest_wait
            || self.running_pem != self.settings.front_pem
        {
            // Timeouts and certificates are read at the start alone.
            self.replace().await;
            return;
        }
        if let Err(e) = self.over_the_socket().await {
            tracing::warn!("HAProxy does not take the change at run time ({e}); it is replaced");
            self.replace().await;
        }
    }

    /// Takes the front's certificate anew from its files, if these have changed. What is wrong with
    /// them leaves the former one in force.
    pub(super) async fn follow_certificate(&mut self) {
        let Some(certificate) = &mut self.certificate else {
            return;
        };
        let pem = match certificate.follow() {
            Ok(None) => return,
            Ok(Some(pem)) => pem,
            Err(error) => {
                tracing::error!("{error}; the certificate before it stays in force");
                return;
            }
        };
        let former = self.settings.front_pem.replace(pem);
        if self.settings.front_pem == former {
            return;
        }
        let text = self.render(&self.wanted);
        if let Err(error) = self.put_in_force(text).await {
            tracing::error!("{error}; the certificate before it stays in force");
            self.settings.front_pem = former;
            if let Some(certificate) = &mut self.certificate {
                certificate.read_again_later();
            }
            return;
        }
        tracing::info!("the front has another certificate");
        self.refused = None;
        self.pauses.reset();
        self.reconcile().await;
    }

    /// Deletes from the process the servers that left and have no connection any more.
    pub(super) async fn delete_leaving(&mut self) {
        let mut left = Vec::new();
        for name in std::mem::take(&mut self.leaving) {
            // Refused while a request or a connection is left: tried again later.
            if self.runtime.delete(&name).await.is_err() {
                left.push(name);
            }
        }
        self.leaving = left;
    }

    async fn over_the_socket(&mut self) -> io::Result<()> {
        let (gone, new) = difference(&self.running, &self.wanted.servers);
        // The new ones first, so that there is no moment with fewer than need be. A name that a
        // leaving server still has must wait for that one's deletion.
        let (blocked, free): (Vec<_>, Vec<_>) = new
            .into_iter()
            .partition(|server| gone.contains(&server.name) || self.leaving.contains(&server.name));
        for server in &free {
            self.add(server).await?;
        }
        for name in gone {
            self.runtime.retire(&name).await?;
            self.leaving.push(name);
        }
        self.delete_leaving().await;
        for server in &blocked {
            if self.leaving.contains(&server.name) {
                let name = &server.name;
                return Err(io::Error::other(format!(
                    "{name} comes with a new address and still has requests at the old one"
                )));
            }
            self.add(server).await?;
        }
        self.running = self.wanted.servers.clone();
        Ok(())
    }

    async fn add(&self, server: &BackendServer) -> io::Result<()> {
        let keywords = render::keywords(&self.settings, server);
        self.runtime.add(server, &keywords).await
    }

    /// Starts a new process, which takes the listening sockets over; the old one finishes its
    /// requests.
    async fn replace(&mut self) {
        let old = self.process.as_ref().and_then(|process| process.pid());
        if old.is_none() {
            // HAProxy has ended this moment; its next start reads the file.
            return;
        }
        if let Err(e) = self.launch(old).await {
            tracing::error!("{e}; the HAProxy before it goes on, and it is tried again");
            // Its servers are not known any more, except that they aren't the wanted ones.
            self.running.clear();
            self.next = Instant::now() + PAUSE;
        }
    }
}

/// Returns the names that go, and the servers that come; one whose address changes does both.
fn difference(
    running: &[BackendServer],
    wanted: &[BackendServer],
) -> (Vec<String>, Vec<BackendServer>) {
    let gone = running.iter().filter(|server| !wanted.contains(server));
    let new = wanted.iter().filter(|server| !running.contains(server));
    (
        gone.map(|server| server.name.clone()).collect(),
        new.cloned().collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, port: u16) -> BackendServer {
        BackendServer {
            name: name.to_owned(),
            http: ([127, 0, 0, 1], port).into(),
            admin: ([127, 0, 0, 1], port + 100).into(),
        }
    }

    #[test]
    fn difference_lists_removed_and_added_servers() {
        let before = [server("a", 1), server("b", 2), server("c", 3)];
        let after = [server("a", 1), server("c", 4), server("d", 5)];
        let (gone, new) = difference(&before, &after);
        assert_eq!(gone, ["b", "c"]);
        assert_eq!(new, [server("c", 4), server("d", 5)]);
        assert_eq!(difference(&after, &after), (vec![], vec![]));
    }
}
