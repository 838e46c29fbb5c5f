//! Release whose outcome its proposer doesn't learn.
//!
//! The connector server is told to hand over, and its log stands still just then, while heartbeats
//! go on. So it leads on in its term, and may take over again. Then the others get what it had
//! sent, the release in it, and not it their answers; and they take it for dead at once, while a
//! lease that was granted meanwhile still runs. Whoever follows finds the reign released and waits
//! for nothing: no lease of it may be there.
//!
//! The log and heartbeats have connections of their own. A value of a few KiB stops the log:
//! what is longer than a heartbeat vanishes, and what follows waits for it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    forged_death::ForcedSuccessor,
    partition::{links, order},
};
use crate::{
    cluster::{
        api,
        error::ClusterError,
        links::{LinkRule, PacketVerdict},
    },
    run_context::RunContext,
};

/// The value that stops the log.
const STOPPER: usize = 8 << 10;
/// Heartbeats and votes are shorter, with all headers.
const SHORT: u32 = 600;
/// Time limit of each step that should be done at once.
const SOON: Duration = Duration::from_secs(2);
/// Time limit for the log to arrive once nothing stops it: what has vanished is sent again after a
/// time that doubles. Beyond it the leader has begun with new connections, which an end that hears
/// no answer never finishes.
const ARRIVES: Duration = Duration::from_millis(1_500);

/// Release that is held.
#[derive(Default)]
pub struct HeldRelease {
    rules: Vec<u64>,
    asked: Vec<JoinHandle<Result<(u16, String), ClusterError>>>,
    successor: Option<ForcedSuccessor>,
}

/// Members that take part, by their role.
struct ReleaseRoles {
    leader: u64,
    /// The member that leadership is to be handed to.
    heir: u64,
    others: Vec<u64>,
}

impl ReleaseRoles {
    async fn new(context: &RunContext, rng: &mut StdRng) -> Result<ReleaseRoles, NemesisError> {
        let order = order(context, rng).await?;
        let heir = *order.last().ok_or(NemesisError::NoLeader)?;
        Ok(ReleaseRoles {
            leader: order[0],
            heir,
            others: order[1..].to_vec(),
        })
    }

    /// Returns the members that hear the leader all the time.
    fn witnesses(&self) -> impl Iterator<Item = u64> {
        let heard = self.others.iter().filter(|id| **id != self.heir);
        heard.copied()
    }

    /// Returns whether the leader acts as the connector server.
    async fn acts(&self, context: &RunContext) -> Result<bool, NemesisError> {
        let url = context
            .cluster
            .member(self.leader)
            .admin("/connector-server");
        let (status, _) = api::call(Method::GET, &url, String::new()).await?;
        Ok(status == 200)
    }
}

/// Returns the entries that a member has written to its log, and how often it has synced that.
async fn written(context: &RunContext, id: u64) -> Result<(u64, u64), ClusterError> {
    let url = context.cluster.member(id).admin("/metrics");
    let (_, text) = api::call(Method::GET, &url, String::new()).await?;
    let number = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        value.map(|value| value as u64)
    };
    let counts = (
        number("quorate_log_entries_total "),
        number("quorate_log_fsyncs_total "),
    );
    match counts {
        (Some(entries), Some(syncs)) => Ok((entries, syncs)),
        _ => Err(ClusterError::NotYet(format!(
            "{url} doesn't tell of its log"
        ))),
    }
}

impl HeldRelease {
    async fn add(
        &mut self,
        context: &RunContext,
        rules: Vec<LinkRule>,
    ) -> Result<u64, NemesisError> {
        let number = links(context)?.add(rules).await?;
        self.rules.push(number);
        Ok(number)
    }

    async fn remove(&mut self, context: &RunContext, number: u64) -> Result<(), NemesisError> {
        self.rules.retain(|held| *held != number);
        Ok(links(context)?.remove(number).await?)
    }

    /// Calls the leader; the answer is waited for elsewhere.
    fn ask(
        &mut self,
        context: &RunContext,
        roles: &ReleaseRoles,
        method: Method,
        path: &str,
        body: String,
    ) {
        let url = context.cluster.member(roles.leader).admin(path);
        self.asked.push(tokio::spawn(
            async move { api::call(method, &url, body).await },
        ));
    }

    /// Lets nothing of the log out of the leader any more; gives by which rules.
    async fn stop_the_log(
        &mut self,
        context: &RunContext,
        roles: &ReleaseRoles,
    ) -> Result<u64, NemesisError> {
        let stopped = roles.others.iter().map(|other| LinkRule {
            incoming: false,
            ..LinkRule::both(roles.leader, *other, PacketVerdict::Long(SHORT))
        });
        let stopped = self.add(context, stopped.collect()).await?;
        let value = "x".repeat(STOPPER);
        self.ask(context, roles, Method::PUT, "/v1/kv/stopper", value);
        for other in roles.witnesses() {
            api::until("the log to stand still", SOON, || async {
                let port = context.cluster.member(other).ports.peer;
                let all = links(context)?
                    .connections(roles.leader, other, port)
                    .await?;
                if all.iter().any(|it| it.stuck >= STOPPER as u64) {
                    Ok(())
                } else {
                    Err(NemesisError::NoEffect(format!("{all:?}")))
                }
            })
            .await?;
        }
        Ok(stopped)
    }

    /// Tells the leader to hand over to a member that is not there any more when it comes to that:
    /// the leader stays, and what became of its release it doesn't know.
    async fn hand_over(
        &mut self,
        context: &RunContext,
        roles: &ReleaseRoles,
    ) -> Result<(), NemesisError> {
        let body = json!({"to": format!("member-{}", roles.heir)}).to_string();
        let path = "/v1/cluster/transfer-leadership";
        self.ask(context, roles, Method::POST, path, body);
        api::until("the release to be proposed", SOON, || async {
            if roles.acts(context).await? {
                Err(NemesisError::NoEffect(format!("{} acts", roles.leader)))
            } else {
                Ok(())
            }
        })
        .await?;
        let everybody = std::iter::once(roles.leader).chain(roles.others.iter().copied());
        let cut = everybody
            .filter(|id| *id != roles.heir)
            .map(|id| LinkRule::both(roles.heir, id, PacketVerdict::Drop));
        let cut = self.add(context, cut.collect()).await?;
        let nothing = || NemesisError::NotPossible("nothing was asked".to_owned());
        let asked = self.asked.pop().ok_or_else(nothing)?;
        // A release is given up after twice the promise.
        let given_up = Duration::from_millis(context.plan.failover_ms * 4) + SOON;
        let answer = tokio::time::timeout(given_up, asked).await;
        let answer = answer.map_err(|_| {
            NemesisError::NotPossible("no answer to the wish to hand over".to_owned())
        })?;
        match answer?? {
            (409, _) => self.remove(context, cut).await,
            (status, text) => Err(NemesisError::NotPossible(format!(
                "handing over was not refused: {status} {text}"
            ))),
        }
    }

    /// Lets the others have the log, and the leader no answer to it: only what confirms that
    /// bytes have arrived, and all that comes to its heartbeats.
    async fn let_the_log_out(
        &mut self,
        context: &RunContext,
        roles: &ReleaseRoles,
        stopped: u64,
    ) -> Result<(), NemesisError> {
        let mut rules = Vec::new();
        let mut before = Vec::new();
        for other in &roles.others {
            let spared = heartbeats(context, roles.leader, *other).await?;
            rules.push(LinkRule {
                outgoing: false,
                ..LinkRule::both(roles.leader, *other, PacketVerdict::Data(spared))
            });
        }
        for other in roles.witnesses() {
            before.push((other, written(context, other).await?));
        }
        self.add(context, rules).await?;
        self.remove(context, stopped).await?;
        for (other, (entries, syncs)) in before {
            api::until("the log to arrive", ARRIVES, || async {
                let now = written(context, other).await?;
                // The stopper and the release.
                if now.0 >= entries + 2 && now.1 > syncs {
                    Ok(())
                } else {
                    Err(ClusterError::NotYet(format!(
                        "entries and syncs {now:?}, before {:?}",
                        (entries, syncs)
                    )))
                }
            })
            .await?;
        }
        Ok(())
    }
}

/// Returns the port of the connection for heartbeats: that on which most gets through while the log
/// stands still.
async fn heartbeats(context: &RunContext, leader: u64, other: u64) -> Result<u16, NemesisError> {
    let port = context.cluster.member(other).ports.peer;
    let before = links(context)?.connections(leader, other, port).await?;
    let busiest = api::until("a heartbeat", SOON, || async {
        let now = links(context)?.connections(leader, other, port).await?;
        let more = |it: &&crate::cluster::links::TcpConnection| {
            let was = before.iter().find(|was| was.port == it.port);
            it.confirmed - was.map_or(0, |was| was.confirmed.min(it.confirmed))
        };
        // Several: a connection that is asked whether it lives answers too, and shortly.
        match now.iter().max_by_key(more).filter(|it| more(it) > 300) {
            Some(busiest) => Ok(busiest.port),
            None => Err(NemesisError::NoEffect(format!("{before:?}, then {now:?}"))),
        }
    });
    Ok(busiest.await?)
}

#[async_trait]
impl Nemesis for HeldRelease {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let roles = ReleaseRoles::new(context, rng).await?;
        if !roles.acts(context).await? {
            let leader = roles.leader;
            return Err(NemesisError::NotPossible(format!(
                "{leader} does not run the connectors"
            )));
        }
        let successor = ForcedSuccessor::new(context, roles.leader, &roles.others).await?;
        let stopped = self.stop_the_log(context, &roles).await?;
        self.hand_over(context, &roles).await?;
        self.let_the_log_out(context, &roles, stopped).await?;
        let port = context.cluster.member(roles.leader).ports.peer;
        let dead = links(context)?
            .play_dead(roles.leader, &roles.others, port)
            .await?;
        self.rules.push(dead);
        self.successor = Some(successor);
        let told = "release of unknown fate, then death forged, of";
        Ok(FaultTarget::new(told, vec![roles.leader]))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let nobody = || NemesisError::NoEffect("nobody was taken for dead".to_owned());
        let successor = self.successor.as_ref().ok_or_else(nobody)?;
        successor.seen(context).await
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        for asked in self.asked.drain(..) {
            asked.abort();
        }
        for held in self.rules.drain(..) {
            links(context)?.remove(held).await?;
        }
        Ok(())
    }
}
