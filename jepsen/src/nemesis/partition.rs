//! Partitions of several shapes between members, while clients reach them all.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use tokio::task::JoinHandle;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    kill::{VictimChoice, choose},
};
use crate::{
    cancel::CancelToken,
    cluster::links::{LinkRule, LinkRules, PacketVerdict},
    run_context::RunContext,
};

/// Shape of a partition.
#[derive(Clone, Copy, Debug)]
pub enum PartitionShape {
    /// The leader reaches nobody.
    Leader,
    /// Each member reaches a majority, and no two the same one: neighbours in a ring.
    Ring,
    /// Two halves, and one member that reaches both.
    Bridge,
    /// The leader's packets go out and none come in, or the other way round.
    OneWay,
}

/// Partition between members.
pub struct NetworkPartition {
    shape: Option<PartitionShape>,
    held: Option<u64>,
    rules: Vec<LinkRule>,
}

/// Decided by the rng.
pub fn drawn() -> Box<dyn Nemesis> {
    Box::new(NetworkPartition {
        shape: None,
        held: None,
        rules: Vec::new(),
    })
}

/// Makes a partition of this shape.
pub fn new(shape: PartitionShape) -> Box<dyn Nemesis> {
    Box::new(NetworkPartition {
        shape: Some(shape),
        held: None,
        rules: Vec::new(),
    })
}

/// The links of a run that has some.
pub(super) fn links(context: &RunContext) -> Result<&LinkRules, NemesisError> {
    context.links.as_ref().ok_or(NemesisError::NoNamespaces)
}

/// The rules of a shape, in an order of members that begins with the leader.
fn shaped(shape: PartitionShape, order: &[u64], outgoing: bool) -> (Vec<LinkRule>, Vec<u64>) {
    let (leader, others) = (order[0], &order[1..]);
    let n = order.len();
    let cut = |a: usize, b: usize| LinkRule::both(order[a], order[b], PacketVerdict::Drop);
    match shape {
        PartitionShape::Leader => {
            let rules = others
                .iter()
                .map(|other| LinkRule::both(leader, *other, PacketVerdict::Drop));
            (rules.collect(), vec![leader])
        }
        PartitionShape::OneWay => {
            let rules = others.iter().map(|other| LinkRule {
                incoming: !outgoing,
                outgoing,
                ..LinkRule::both(leader, *other, PacketVerdict::Drop)
            });
            (rules.collect(), vec![leader])
        }
        PartitionShape::Ring => {
            // With three, a ring has all links: one is cut, and each still sees a majority.
            let reach = n / 2 / 2;
            let far = |a: usize, b: usize| {
                let distance = (b - a).min(n - (b - a));
                distance > reach.max(1)
            };
            let mut rules: Vec<LinkRule> = Vec::new();
            for a in 0..n {
                rules.extend((a + 1..n).filter(|b| far(a, *b)).map(|b| cut(a, b)));
            }
            if rules.is_empty() {
                rules.push(cut(0, 1));
            }
            (rules, order.to_vec())
        }
        PartitionShape::Bridge => {
            // The last reaches both halves.
            let half = (n - 1) / 2;
            let mut rules = Vec::new();
            for a in 0..half {
                rules.extend((half..n - 1).map(|b| cut(a, b)));
            }
            (rules, order[..n - 1].to_vec())
        }
    }
}

/// Returns the members, the leader first if somebody leads.
pub(super) async fn order(
    context: &RunContext,
    rng: &mut StdRng,
) -> Result<Vec<u64>, NemesisError> {
    let mut order = choose(context, VictimChoice::All, rng).await?;
    if let Some(leader) = context.cluster.leader().await {
        order.retain(|id| *id != leader);
        order.insert(0, leader);
    }
    Ok(order)
}

#[async_trait]
impl Nemesis for NetworkPartition {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let shapes = [
            PartitionShape::Leader,
            PartitionShape::Ring,
            PartitionShape::Bridge,
            PartitionShape::OneWay,
        ];
        let drawn = shapes
            .choose(rng)
            .copied()
            .unwrap_or(PartitionShape::Leader);
        let (shape, outgoing) = (self.shape.unwrap_or(drawn), rng.random_ratio(1, 2));
        let order = order(context, rng).await?;
        let (rules, members) = shaped(shape, &order, outgoing);
        self.rules.clone_from(&rules);
        self.held = Some(links(context)?.add(rules).await?);
        Ok(FaultTarget::new(
            &format!("{shape:?} in the order {order:?}:"),
            members,
        ))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let links = links(context)?;
        let nothing = || NemesisError::NoEffect("nothing was cut".to_owned());
        let cut = self.rules.first().ok_or_else(nothing)?;
        let (a, b) = (cut.at, cut.other);
        let port = context.cluster.member(b).ports.peer;
        if links.reach(a, b, port).await {
            return Err(NemesisError::NoEffect(format!("{a} reaches {b}")));
        }
        let met = links.met(a).await;
        let joined = |x: u64, y: u64| {
            let same = |rule: &&LinkRule| [(x, y), (y, x)].contains(&(rule.at, rule.other));
            x != y && !self.rules.iter().any(|rule| same(&rule))
        };
        let ids = 1..=context.cluster.members.len() as u64;
        let whole = ids
            .clone()
            .flat_map(|x| ids.clone().map(move |y| (x, y)))
            .find(|(x, y)| joined(*x, *y));
        let mut seen = format!("{a} does not reach {b}, {met} packets met the rules");
        if let Some((x, y)) = whole {
            let port = context.cluster.member(y).ports.peer;
            if links.reach(x, y, port).await {
                seen += &format!(", {x} reaches {y}")
            } else {
                let seen = format!("{seen}; {x} does not reach {y} either");
                return Err(NemesisError::NoEffect(seen));
            }
        }
        match met {
            0 => Err(NemesisError::NoEffect(seen)),
            _ => Ok(seen),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(links(context)?.remove(held).await?),
            None => Ok(()),
        }
    }
}

/// The leader's links go and come, faster than anybody settles.
#[derive(Default)]
pub struct LinkFlap {
    cancel: CancelToken,
    task: Option<JoinHandle<Result<(), NemesisError>>>,
    who: u64,
    met: Arc<std::sync::atomic::AtomicU64>,
}

#[async_trait]
impl Nemesis for LinkFlap {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let order = order(context, rng).await?;
        self.who = order[0];
        let [down, up] = [0, 0].map(|_: i32| rng.random_range(50..=context.plan.failover_ms));
        let (rules, members) = shaped(PartitionShape::Leader, &order, false);
        let (context, cancel, met, who) = (
            context.clone(),
            self.cancel.clone(),
            self.met.clone(),
            self.who,
        );
        self.task = Some(tokio::spawn(async move {
            let links = links(&context)?;
            loop {
                let held = links.add(rules.clone()).await?;
                let ended = cancel.cancelled_within(Duration::from_millis(down)).await;
                met.fetch_add(links.met(who).await, std::sync::atomic::Ordering::Relaxed);
                links.remove(held).await?;
                if ended || cancel.cancelled_within(Duration::from_millis(up)).await {
                    return Ok(());
                }
            }
        }));
        Ok(FaultTarget::new(
            &format!("{down} ms cut off, {up} ms not, in turn:"),
            members,
        ))
    }

    async fn probe(&mut self, _: &Arc<RunContext>) -> Result<String, NemesisError> {
        match self.met.load(std::sync::atomic::Ordering::Relaxed) {
            0 => Err(NemesisError::NoEffect(
                "no packet has met a rule".to_owned(),
            )),
            met => Ok(format!("{met} packets have met the rules")),
        }
    }

    async fn heal(&mut self, _: &Arc<RunContext>) -> Result<(), NemesisError> {
        self.cancel.cancel();
        match self.task.take() {
            Some(task) => task.await?,
            None => Ok(()),
        }
    }
}

/// Reset of connections, which are refused from then on: on one link, or on all of the leader's.
#[derive(Default)]
pub struct ConnectionReset {
    held: Option<u64>,
    who: u64,
}

#[async_trait]
impl Nemesis for ConnectionReset {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let order = order(context, rng).await?;
        self.who = order[0];
        let count = if rng.random_ratio(1, 2) {
            1
        } else {
            order.len() - 1
        };
        let others = &order[1..=count];
        let rules = others
            .iter()
            .map(|other| LinkRule::both(self.who, *other, PacketVerdict::Reset));
        self.held = Some(links(context)?.add(rules.collect()).await?);
        let told = format!("links to {others:?} are reset:");
        Ok(FaultTarget::new(&told, vec![self.who]))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        match links(context)?.met(self.who).await {
            0 => Err(NemesisError::NoEffect(
                "no packet has met a rule".to_owned(),
            )),
            met => Ok(format!("{met} packets have met the rules")),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(links(context)?.remove(held).await?),
            None => Ok(()),
        }
    }
}

/// Some packets of all links vanish.
#[derive(Default)]
pub struct PacketLoss {
    held: Option<u64>,
}

#[async_trait]
impl Nemesis for PacketLoss {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let percent = *[5, 10, 30].choose(rng).unwrap_or(&10);
        let ids: Vec<u64> = context
            .cluster
            .members
            .iter()
            .map(|member| member.id)
            .collect();
        let mut rules = Vec::new();
        for at in &ids {
            let others = ids.iter().filter(|other| *other != at);
            rules.extend(others.map(|other| LinkRule {
                // Each packet meets one rule, that of whom it comes to.
                outgoing: false,
                ..LinkRule::both(*at, *other, PacketVerdict::Lose(percent))
            }));
        }
        self.held = Some(links(context)?.add(rules).await?);
        Ok(FaultTarget::new(
            &format!("{percent} of 100 packets lost:"),
            ids,
        ))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let mut met = 0;
        for member in &context.cluster.members {
            met += links(context)?.met(member.id).await;
        }
        match met {
            0 => Err(NemesisError::NoEffect("no packet was lost".to_owned())),
            met => Ok(format!("{met} packets lost so far")),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(links(context)?.remove(held).await?),
            None => Ok(()),
        }
    }
}
