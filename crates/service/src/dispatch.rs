//! Dispatcher of service calls to live members.
//!
//! - Members that carry the service in their code take turns, this one like the others; this member
//!   is called without the network.
//! - A service that is reached over HTTP works somewhere else whichever member calls it, so this
//!   member calls it itself: asking another one to would only cost a way there and back. The others
//!   are there for upstreams that this one can't reach.
//! - A member that surely did not run the call (it could not be reached, or answered so) is passed
//!   over for the next one, and then left alone: one that can't be reached until a probe in the
//!   background has had an answer, one that refused for a moment. So a dead member costs the
//!   cluster's messages nothing after the first look.
//! - Neither does one that consensus takes for dead or silent: a paused process accepts connections
//!   and answers nothing, so a call sent to it would wait for its deadline.
//! - A member that is stopping asks the others first, and runs itself only calls that none of them
//!   takes.
//! - Once a call has been sent and the connection breaks, nobody knows whether it ran, and nothing
//!   is tried again here.
//!
//! Going from member to member takes time, and the lease of a message's epoch may end meanwhile:
//! the caller's `may_run` is asked before every try.

mod invocation_codec;
mod invoke_server;
mod pause_detector;
mod peer_channel;
mod round_robin;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_state::State;
use quorate_tls::{ExpectedMember, MemberConnector, MemberDialer};
use quorate_types::{Member, MemberId, MemberList};
use tokio::sync::watch;

use self::{
    peer_channel::{InvocationOutcome, PeerChannel},
    round_robin::RoundRobin,
};
use super::{
    api::{MayRun, Reply, Request, ServiceDispatch, ServiceError},
    invoke::rounded,
    registry::{ServiceHost, Services},
};
pub use invoke_server::InvokeServer;
pub use pause_detector::{CatchUp, PauseLimit};

/// Longest invocation and longest answer to one, in bytes.
pub const INVOCATION_BYTES_MAX: usize = 64 << 20;

/// Dispatcher of calls to members.
pub struct ServiceDispatcher {
    cluster: String,
    me: MemberId,
    members: watch::Receiver<MemberList>,
    silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
    services: Arc<Services>,
    tls: Option<Arc<MemberConnector>>,
    peers: Mutex<HashMap<MemberId, Arc<PeerChannel>>>,
    round_robin: RoundRobin,
    log_limit: RateLimit,
}

impl ServiceDispatcher {
    /// Creates a dispatcher. `members` follows the group's members, `silent` those that are dead or
    /// not heard. From now on [`Services::call_anywhere`] uses it for services that this member's
    /// program doesn't carry, for as long as the dispatcher is kept. With `tls` members are called
    /// by nothing else.
    pub fn new(
        cluster: impl Into<String>,
        me: MemberId,
        members: watch::Receiver<MemberList>,
        silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
        services: Arc<Services>,
        tls: Option<Arc<MemberConnector>>,
    ) -> Arc<ServiceDispatcher> {
        let dispatcher = Arc::new(ServiceDispatcher {
            cluster: cluster.into(),
            me,
            members,
            silent,
            services: services.clone(),
            tls,
            peers: Mutex::new(HashMap::new()),
            round_robin: RoundRobin::default(),
            log_limit: RateLimit::each_second(),
        });
        let weak: Weak<ServiceDispatcher> = Arc::downgrade(&dispatcher);
        services.send_elsewhere_through(weak);
        dispatcher
    }

    /// Returns the members that can run `service`, ordered by id.
    fn carriers(&self, service: &str, state: &State) -> Vec<MemberId> {
        let carrier = self.services.carrier(service);
        let here = self.services.carries(service);
        let carries = |id: MemberId| match &carrier {
            _ if id == self.me => here,
            ServiceHost::EveryMember => true,
            ServiceHost::Code(code) => self.services.announced_by(state, code, id),
        };
        let mut ids: Vec<MemberId> = self
            .members
            .borrow()
            .iter()
            .map(|member| member.id)
            .collect();
        if !ids.contains(&self.me) {
            ids.push(self.me);
        }
        ids.retain(|id| carries(*id));
        ids.sort_unstable();
        ids
    }

    /// Returns the channel to a member, made when it is first wanted and again when its address has
    /// changed.
    fn peer(&self, id: MemberId) -> Option<Arc<PeerChannel>> {
        let members = self.members.borrow();
        let member = members.iter().find(|member| member.id == id);
        let member = member.map(|member| &member.member);
        let mut peers = self.peers.lock();
        peers.retain(|known, _| members.iter().any(|member| member.id == *known));
        let Member { name, peer, .. } = member?;
        let address = peer;
        if let Some(peer) = peers.get(&id).filter(|peer| peer.address() == address) {
            return Some(peer.clone());
        }
        let peer = PeerChannel::new(&self.cluster, id, address, self.dialer(id, name))
            .inspect_err(|error| {
                if let Some(left_out) = self.log_limit.due(address) {
                    tracing::warn!(
                        member = id,
                        address,
                        why = error.to_string(),
                        left_out,
                        "no channel to this member"
                    );
                }
            })
            .ok()?;
        peers.insert(id, peer.clone());
        Some(peer)
    }

    /// Returns the TLS by which a member is called, if there is any.
    fn dialer(&self, id: MemberId, name: &str) -> Option<MemberDialer> {
        let name = (!name.is_empty()).then(|| name.to_owned());
        let tls = self.tls.clone()?;
        Some(MemberDialer::new(tls, ExpectedMember { id, name }))
    }

    /// Returns true for a member that is to be asked last.
    fn comes_last(&self, id: MemberId) -> bool {
        if id == self.me {
            return self.services.refuses_messages();
        }
        if self.silent.borrow().contains(&id) {
            return true;
        }
        self.peers
            .lock()
            .get(&id)
            .is_some_and(|peer| peer.is_down())
    }

    /// Runs a call on one member, this one or another.
    async fn ask(&self, id: MemberId, service: &str, request: Request) -> InvocationOutcome {
        if id == self.me {
            return self.services.call(service, request).await.into();
        }
        let Some(peer) = self.peer(id) else {
            return InvocationOutcome::NotRun("it has no address that can be used".into());
        };
        let deadline = request.deadline;
        let invocation = invocation_codec::to_invocation(service, request, Instant::now());
        peer.invoke(invocation, deadline).await
    }
}

#[async_trait]
impl ServiceDispatch for ServiceDispatcher {
    async fn dispatch(
        &self,
        service: &str,
        request: Request,
        may_run: MayRun<'_>,
    ) -> Result<Reply, ServiceError> {
        let begun = Instant::now();
        let allowed_ms = rounded(request.remaining()).as_millis() as u64;
        let carriers = self.carriers(service, &self.services.state());
        if carriers.is_empty() {
            return Err(ServiceError::NotRun(format!(
                "no member carries service {service:?}"
            )));
        }
        let mut refusals: Vec<String> = Vec::new();
        let first = self.services.is_upstream(service).then_some(self.me);
        let order =
            self.round_robin
                .order(service, &carriers, first, |id| self.comes_last(id), begun);
        for id in order {
            if Instant::now() >= request.deadline {
                refusals.push("the deadline was over".to_owned());
                break;
            }
            if !may_run() {
                refusals.push("the lease of its epoch is over".to_owned());
                break;
            }
            let outcome = match self.ask(id, service, request.clone()).await {
                InvocationOutcome::Answered(outcome) => outcome,
                InvocationOutcome::TimedOut => Err(ServiceError::TimedOut(allowed_ms)),
                InvocationOutcome::Broken(why) => Err(ServiceError::Failed(format!(
                    "member {id}: {why}; whether the service ran is not known"
                ))),
                InvocationOutcome::Unreached(why) | InvocationOutcome::NotRun(why) => {
                    self.round_robin.refused(service, id, Instant::now());
                    refusals.push(format!("member {id}: {why}"));
                    continue;
                }
            };
            let to = if id == self.me { "here" } else { "peer" };
            metrics::counter!("quorate_dispatches_total", "to" => to).increment(1);
            return outcome;
        }
        Err(ServiceError::NotRun(format!(
            "no member ran service {service:?}: {}",
            refusals.join("; ")
        )))
    }
}
