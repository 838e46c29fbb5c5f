//! Leader that is left with one link: too few to lead, and one more than to be silent.
//!
//! Whoever it still reaches hears it and reaches the others, who have a quorum together:
//! they have to elect somebody, though one of them stands by a leader that can't lead. Of
//! five one more is cut off from all, so that the others can't do without that one.

use std::sync::Arc;

use async_trait::async_trait;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
    partition::{links, order},
};
use crate::{
    cluster::links::{LinkRule, PacketVerdict},
    run_context::RunContext,
};

/// Isolation of the leader but for one link.
#[derive(Default)]
pub struct StrandedLeader {
    held: Option<u64>,
    /// The members: the leader first, then the one that it reaches; of five the last is alone.
    order: Vec<u64>,
    cut: Vec<(u64, u64)>,
}

/// The links that are cut, in an order of members that begins with the leader.
fn cut(order: &[u64]) -> Vec<(u64, u64)> {
    let leader = order[0];
    let mut cut: Vec<(u64, u64)> = order[2..].iter().map(|other| (leader, *other)).collect();
    if let [_, within @ .., alone] = order
        && order.len() > 4
    {
        cut.extend(within.iter().map(|other| (*other, *alone)));
    }
    cut
}

#[async_trait]
impl Nemesis for StrandedLeader {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        let leader = context
            .cluster
            .leader()
            .await
            .ok_or(NemesisError::NoLeader)?;
        self.order = order(context, rng).await?;
        if self.order.first() != Some(&leader) || self.order.len() < 4 {
            let seen = format!("nobody leads four or more: {:?}", self.order);
            return Err(NemesisError::NotPossible(seen));
        }
        self.cut = cut(&self.order);
        let rules = self.cut.iter();
        let rules = rules.map(|(at, other)| LinkRule::both(*at, *other, PacketVerdict::Drop));
        self.held = Some(links(context)?.add(rules.collect()).await?);
        let told = format!("{leader} reaches {} alone; cut off:", self.order[1]);
        // With these untouched the others are a quorum, and reach each other.
        let mut members = vec![leader];
        members.extend(self.order.get(4));
        Ok(FaultTarget::new(&told, members))
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let mut asked = JoinSet::new();
        for (n, a) in self.order.iter().enumerate() {
            for b in &self.order[n + 1..] {
                let (context, a, b) = (context.clone(), *a, *b);
                asked.spawn(async move {
                    let port = context.cluster.member(b).ports.peer;
                    let reaches = links(&context)?.reach(a, b, port).await;
                    Ok::<_, NemesisError>((a, b, reaches))
                });
            }
        }
        let mut whole = Vec::new();
        while let Some(told) = asked.join_next().await {
            let (a, b, reaches) = told??;
            let kept = !self.cut.contains(&(a, b));
            match (kept, reaches) {
                (true, true) => whole.push((a, b)),
                (false, false) => {}
                (true, false) => {
                    return Err(NemesisError::NoEffect(format!("{a} does not reach {b}")));
                }
                (false, true) => return Err(NemesisError::NoEffect(format!("{a} reaches {b}"))),
            }
        }
        whole.sort_unstable();
        match links(context)?.met(self.order[0]).await {
            0 => Err(NemesisError::NoEffect(
                "no packet of the leader has met a rule".to_owned(),
            )),
            met => Ok(format!("links that are left: {whole:?}; {met} packets met")),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        match self.held.take() {
            Some(held) => Ok(links(context)?.remove(held).await?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the members that one reaches, itself included.
    fn reached(from: u64, order: &[u64]) -> BTreeSet<u64> {
        let cut = cut(order);
        let joined = |other: &u64| !cut.contains(&(from, *other)) && !cut.contains(&(*other, from));
        order.iter().copied().filter(joined).collect()
    }

    #[test]
    fn leader_keeps_one_link_and_others_a_quorum() {
        for order in [vec![3, 1, 4, 2], vec![5, 2, 1, 4, 3]] {
            let quorum = order.len() / 2 + 1;
            assert_eq!(reached(order[0], &order), [order[0], order[1]].into());
            let others: BTreeSet<u64> = order[1..quorum + 1].iter().copied().collect();
            for other in &others {
                assert!(reached(*other, &order).is_superset(&others), "{order:?}");
            }
            assert!(reached(order[0], &order).len() < quorum);
            if order.len() == 5 {
                assert_eq!(reached(order[4], &order), [order[4]].into());
            }
        }
    }
}
