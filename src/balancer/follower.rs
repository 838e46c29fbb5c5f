//! The follower of the cluster: it asks a member for the list of members, again and again.
//!
//! It stays with the member that answered last, so that two members that disagree for a moment
//! don't make the list go back and forth. When that one is silent it asks the others: the members
//! of the last answer, the seeds of the settings, and every member that was ever seen.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    BalancerSettings,
    backend_servers::{AddressResolver, BackendServer},
    member_cache::MemberCache,
    member_client::{ClusterAnswer, MemberClient},
    members_tls::MembersTls,
};

/// The part of the cluster that HAProxy has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClusterView {
    /// Ordered by their members' ids.
    pub(super) servers: Vec<BackendServer>,
    /// The longest time for which a member may send nothing on a request; zero before the first
    /// answer.
    pub(super) longest_wait: Duration,
}

/// The cluster as its members report it. The asking ends with this value.
pub(super) struct ClusterFollower {
    view: watch::Receiver<Arc<ClusterView>>,
    heard: watch::Receiver<bool>,
    _task: AbortOnDropHandle<()>,
}

impl ClusterFollower {
    pub(super) fn start(settings: &BalancerSettings, tls: Option<&MembersTls>) -> ClusterFollower {
        let (view_tx, view) = watch::channel(Arc::default());
        let (heard_tx, heard) = watch::channel(false);
        let following = FollowerTask {
            dir: settings.dir.clone(),
            seeds: settings.members.clone(),
            cache: MemberCache::load(&settings.dir),
            asker: MemberClient::new(tls, settings.token_file.clone()),
            resolver: AddressResolver::default(),
            source: None,
            silent: false,
            longest_wait: Duration::ZERO,
            view: view_tx,
            heard: heard_tx,
        };
        let task = tokio::spawn(following.run(settings.poll));
        ClusterFollower {
            view,
            heard,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Waits for a first answer, at most `wait`.
    pub(super) async fn first(&mut self, wait: Duration) {
        // Without one, the members of an earlier run are used.
        let _ = timeout(wait, self.heard.wait_for(|heard| *heard)).await;
    }

    /// Returns the cluster as of now.
    pub(super) fn view(&mut self) -> ClusterView {
        ClusterView::clone(&self.view.borrow_and_update())
    }

    /// Waits for a change of the cluster.
    pub(super) async fn changed(&mut self) {
        if self.view.changed().await.is_err() {
            // The task ends with this value only.
            std::future::pending::<()>().await;
        }
    }
}

struct FollowerTask {
    dir: PathBuf,
    seeds: Vec<String>,
    cache: MemberCache,
    asker: MemberClient,
    resolver: AddressResolver,
    /// The member that answered last.
    source: Option<String>,
    /// True once the log says that no member answers.
    silent: bool,
    longest_wait: Duration,
    view: watch::Sender<Arc<ClusterView>>,
    heard: watch::Sender<bool>,
}

impl FollowerTask {
    async fn run(mut self, poll: Duration) {
        self.publish().await;
        let mut poll = interval(poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            poll.tick().await;
            if let Some(told) = self.ask().await {
                // A member of an earlier version doesn't send it; another member's answer holds.
                if told.longest_wait_ms > 0 {
                    self.longest_wait = Duration::from_millis(told.longest_wait_ms);
                }
                if self.cache.learn(&told.members)
                    && let Err(e) = self.cache.save(&self.dir)
                {
                    tracing::warn!("{e}");
                }
                self.publish().await;
                self.heard.send_replace(true);
            }
        }
    }

    /// Asks once around, until a member answers.
    async fn ask(&mut self) -> Option<ClusterAnswer> {
        let mut failures = Vec::new();
        for address in self.addresses() {
            match self.asker.members(&address).await {
                Ok(told) => {
                    if self.source.as_ref() != Some(&address) || self.silent {
                        tracing::info!(
                            admin = address,
                            "following the cluster as this member tells it"
                        );
                    }
                    self.silent = false;
                    self.source = Some(address);
                    return Some(told);
                }
                Err(why) => failures.push(format!("{address}: {why}")),
            }
        }
        if !self.silent {
            tracing::warn!(
                "no member tells who the members are, so HAProxy keeps those it has; {}",
                failures.join("; ")
            );
            self.silent = true;
        }
        None
    }

    /// Returns the addresses to ask, in order, each once.
    fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = Vec::new();
        let last = self.cache.members.iter().map(|member| &member.admin);
        let all = self.source.iter().chain(last).chain(&self.seeds);
        for address in all.chain(self.cache.seen.iter().rev()) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    async fn publish(&mut self) {
        let view = ClusterView {
            servers: self.resolver.servers(&self.cache.members).await,
            longest_wait: self.longest_wait,
        };
        self.view.send_if_modified(|known| {
            let changed = **known != view;
            if changed {
                *known = Arc::new(view);
            }
            changed
        });
    }
}
