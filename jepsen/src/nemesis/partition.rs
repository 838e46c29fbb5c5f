//! Members that don't reach each other, in several shapes, while clients reach them all.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use tokio::task::JoinHandle;

use super::{
    contract::{Nemesis, Target},
    error::NemesisError,
    kill::{Whom, choose},
};
use crate::{
    cluster::links::{Links, Rule, Verdict},
    run_context::Bed,
    stop::Stop,
};

/// Who reaches whom.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// The leader reaches nobody.
    Leader,
    /// Each reaches a majority, and no two the same one: neighbours in a ring.
    Ring,
    /// Two halves and one that reaches both.
    Bridge,
    /// The leader's packets go out and none come in, or the other way round.
    OneWay,
}

/// Cuts links.
pub struct Partition {
    shape: Option<Shape>,
    held: Option<u64>,
    rules: Vec<Rule>,
}

/// Decided by the dice.
pub fn any() -> Box<dyn Nemesis> {
    Box::new(Partition {
        shape: None,
        held: None,
        rules: Vec::new(),
    })
}

/// This one.
pub fn of(shape: Shape) -> Box<dyn Nemesis> {
    Box::new(Partition {
        shape: Some(shape),
        held: None,
        rules: Vec::new(),
    })
}

/// The links of a bed that has some.
pub(super) fn links(bed: &Bed) -> Result<&Links, NemesisError> {
    bed.links.as_ref().ok_or(NemesisError::NoNamespaces)
}

/// The rules of a shape, in an order of members that begins with the leader.
fn shaped(shape: Shape, order: &[u64], outgoing: bool) -> (Vec<Rule>, Vec<u64>) {
    let (leader, others) = (order[0], &order[1..]);
    let n = order.len();
    let cut = |a: usize, b: usize| Rule::both(order[a], order[b], Verdict::Drop);
    match shape {
        Shape::Leader => {
            let rules = others
                .iter()
                .map(|other| Rule::both(leader, *other, Verdict::Drop));
            (rules.collect(), vec![leader])
        }
        Shape::OneWay => {
            let rules = others.iter().map(|other| Rule {
                incoming: !outgoing,
                outgoing,
                ..Rule::both(leader, *other, Verdict::Drop)
            });
            (rules.collect(), vec![leader])
        }
        Shape::Ring => {
            // With three, a ring has all links: one is cut, and each still sees a majority.
            let reach = n / 2 / 2;
            let far = |a: usize, b: usize| {
                let distance = (b - a).min(n - (b - a));
                distance > reach.max(1)
            };
            let mut rules: Vec<Rule> = Vec::new();
            for a in 0..n {
                rules.extend((a + 1..n).filter(|b| far(a, *b)).map(|b| cut(a, b)));
            }
            if rules.is_empty() {
                rules.push(cut(0, 1));
            }
            (rules, order.to_vec())
        }
        Shape::Bridge => {
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

/// The members, the leader first if somebody leads.
pub(super) async fn order(bed: &Bed, dice: &mut StdRng) -> Result<Vec<u64>, NemesisError> {
    let mut order = choose(bed, Whom::All, dice).await?;
    if let Some(leader) = bed.cluster.leader().await {
        order.retain(|id| *id != leader);
        order.insert(0, leader);
    }
    Ok(order)
}

#[async_trait]
impl Nemesis for Partition {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError> {
        let shapes = [Shape::Leader, Shape::Ring, Shape::Bridge, Shape::OneWay];
        let drawn = shapes.choose(dice).copied().unwrap_or(Shape::Leader);
        let (shape, outgoing) = (self.shape.unwrap_or(drawn), dice.random_ratio(1, 2));
        let order = order(bed, dice).await?;
        let (rules, members) = shaped(shape, &order, outgoing);
        self.rules.clone_from(&rules);
        self.held = Some(links(bed)?.add(rules).await?);
        Ok(Target::of(
            &format!("{shape:?} in the order {order:?}:"),
            members,
        ))
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, NemesisError> {
        let links = links(bed)?;
        let nothing = || NemesisError::NoEffect("nothing was cut".to_owned());
        let cut = self.rules.first().ok_or_else(nothing)?;
        let (a, b) = (cut.at, cut.other);
        let port = bed.cluster.member(b).ports.peer;
        if links.reach(a, b, port).await {
            return Err(NemesisError::NoEffect(format!("{a} reaches {b}")));
        }
        let met = links.met(a).await;
        let joined = |x: u64, y: u64| {
            let same = |rule: &&Rule| [(x, y), (y, x)].contains(&(rule.at, rule.other));
            x != y && !self.rules.iter().any(|rule| same(&rule))
        };
        let ids = 1..=bed.cluster.members.len() as u64;
        let whole = ids
            .clone()
            .flat_map(|x| ids.clone().map(move |y| (x, y)))
            .find(|(x, y)| joined(*x, *y));
        let mut seen = format!("{a} does not reach {b}, {met} packets met the rules");
        if let Some((x, y)) = whole {
            let port = bed.cluster.member(y).ports.peer;
            match links.reach(x, y, port).await {
                true => seen += &format!(", {x} reaches {y}"),
                false => {
                    let seen = format!("{seen}; {x} does not reach {y} either");
                    return Err(NemesisError::NoEffect(seen));
                }
            }
        }
        match met {
            0 => Err(NemesisError::NoEffect(seen)),
            _ => Ok(seen),
        }
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(links(bed)?.remove(held).await?),
            None => Ok(()),
        }
    }
}

/// The leader's links go and come, faster than anybody settles.
#[derive(Default)]
pub struct Flap {
    stop: Stop,
    task: Option<JoinHandle<Result<(), NemesisError>>>,
    who: u64,
    met: Arc<std::sync::atomic::AtomicU64>,
}

#[async_trait]
impl Nemesis for Flap {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError> {
        let order = order(bed, dice).await?;
        self.who = order[0];
        let [down, up] = [0, 0].map(|_: i32| dice.random_range(50..=bed.plan.failover_ms));
        let (rules, members) = shaped(Shape::Leader, &order, false);
        let (bed, stop, met, who) = (bed.clone(), self.stop.clone(), self.met.clone(), self.who);
        self.task = Some(tokio::spawn(async move {
            let links = links(&bed)?;
            loop {
                let held = links.add(rules.clone()).await?;
                let ended = stop.within(Duration::from_millis(down)).await;
                met.fetch_add(links.met(who).await, std::sync::atomic::Ordering::Relaxed);
                links.remove(held).await?;
                if ended || stop.within(Duration::from_millis(up)).await {
                    return Ok(());
                }
            }
        }));
        Ok(Target::of(
            &format!("{down} ms cut off, {up} ms not, in turn:"),
            members,
        ))
    }

    async fn probe(&mut self, _: &Arc<Bed>) -> Result<String, NemesisError> {
        match self.met.load(std::sync::atomic::Ordering::Relaxed) {
            0 => Err(NemesisError::NoEffect(
                "no packet has met a rule".to_owned(),
            )),
            met => Ok(format!("{met} packets have met the rules")),
        }
    }

    async fn heal(&mut self, _: &Arc<Bed>) -> Result<(), NemesisError> {
        self.stop.ask();
        match self.task.take() {
            Some(task) => task.await?,
            None => Ok(()),
        }
    }
}

/// Connections are reset and refused: on one link, or on all of the leader's.
#[derive(Default)]
pub struct Reset {
    held: Option<u64>,
    who: u64,
}

#[async_trait]
impl Nemesis for Reset {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError> {
        let order = order(bed, dice).await?;
        self.who = order[0];
        let count = match dice.random_ratio(1, 2) {
            true => 1,
            false => order.len() - 1,
        };
        let others = &order[1..=count];
        let rules = others
            .iter()
            .map(|other| Rule::both(self.who, *other, Verdict::Reset));
        self.held = Some(links(bed)?.add(rules.collect()).await?);
        let told = format!("links to {others:?} are reset:");
        Ok(Target::of(&told, vec![self.who]))
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, NemesisError> {
        match links(bed)?.met(self.who).await {
            0 => Err(NemesisError::NoEffect(
                "no packet has met a rule".to_owned(),
            )),
            met => Ok(format!("{met} packets have met the rules")),
        }
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(links(bed)?.remove(held).await?),
            None => Ok(()),
        }
    }
}

/// Some packets of all links vanish.
#[derive(Default)]
pub struct Loss {
    held: Option<u64>,
}

#[async_trait]
impl Nemesis for Loss {
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError> {
        let percent = *[5, 10, 30].choose(dice).unwrap_or(&10);
        let ids: Vec<u64> = bed.cluster.members.iter().map(|member| member.id).collect();
        let mut rules = Vec::new();
        for at in &ids {
            let others = ids.iter().filter(|other| *other != at);
            rules.extend(others.map(|other| Rule {
                // Each packet meets one rule, that of whom it comes to.
                outgoing: false,
                ..Rule::both(*at, *other, Verdict::Lose(percent))
            }));
        }
        self.held = Some(links(bed)?.add(rules).await?);
        Ok(Target::of(&format!("{percent} of 100 packets lost:"), ids))
    }

    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, NemesisError> {
        let mut met = 0;
        for member in &bed.cluster.members {
            met += links(bed)?.met(member.id).await;
        }
        match met {
            0 => Err(NemesisError::NoEffect("no packet was lost".to_owned())),
            met => Ok(format!("{met} packets lost so far")),
        }
    }

    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(links(bed)?.remove(held).await?),
            None => Ok(()),
        }
    }
}
