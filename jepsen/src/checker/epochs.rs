//! Reigns: an epoch has one holder, a term has one leader, and neither goes back.

use std::collections::BTreeMap;

use super::{Checked, Run};
use crate::{
    history::{Fault, Sight},
    verdict::Grade,
};

/// Looks at what the members said.
#[must_use]
pub fn check(run: &Run) -> Checked {
    let mut checked = Checked::new("epochs");
    one_each(run, &mut checked, "term", "two leaders in one term", |it| {
        Some((it.term?, it.leader?))
    });
    one_each(
        run,
        &mut checked,
        "epoch",
        "two holders of one epoch",
        |it| Some((it.epoch?, it.connector_server?)),
    );
    for member in 1..=run.plan.members {
        let mut mine: Vec<&Sight> = run.sights.iter().filter(|it| it.member == member).collect();
        // By when it was asked: answers can overtake each other.
        mine.sort_by_key(|it| (it.asked, it.time));
        forward(run, &mine, &mut checked, "term", |it| it.term);
        forward(run, &mine, &mut checked, "epoch", |it| it.epoch);
    }
    checked.count("sights", run.sights.len() as u64);
    checked
}

fn one_each(
    run: &Run,
    checked: &mut Checked,
    of: &str,
    kind: &str,
    held: impl Fn(&Sight) -> Option<(u64, u64)>,
) {
    let mut holders: BTreeMap<u64, BTreeMap<u64, &Sight>> = BTreeMap::new();
    for sight in &run.sights {
        if let Some((number, holder)) = held(sight) {
            holders
                .entry(number)
                .or_default()
                .entry(holder)
                .or_insert(sight);
        }
    }
    checked.count(format!("reigns.{of}s"), holders.len() as u64);
    for (number, holders) in holders.iter().filter(|(_, it)| it.len() > 1) {
        let told: Vec<String> = holders
            .iter()
            .map(|(holder, by)| format!("member {holder} as member {} told", by.member))
            .collect();
        let times = holders.values().map(|it| it.time);
        let what = format!("{of} {number} was held by {}", told.join(" and by "));
        let found = checked.find(Grade::Wrong, kind, what);
        found.at(&holders.keys().copied().collect::<Vec<_>>());
        found.between(times.clone().min(), times.max());
    }
}

/// What one member says never goes back, unless it was started anew in between: then it
/// knows only what it has applied again.
fn forward(
    run: &Run,
    sights: &[&Sight],
    checked: &mut Checked,
    of: &str,
    number: impl Fn(&Sight) -> Option<u64>,
) {
    let mut last: Option<(u64, &Sight)> = None;
    for sight in sights {
        let Some(now) = number(sight) else {
            continue;
        };
        let Some((before, by)) = last.filter(|(before, by)| *before > now && by.time < sight.asked)
        else {
            if last.is_none_or(|(before, _)| now >= before) {
                last = Some((now, sight));
            }
            continue;
        };
        let restarted = |fault: &Fault| {
            fault.members.contains(&sight.member)
                && fault.begun <= sight.time
                && fault
                    .healed
                    .is_none_or(|healed| healed + 2 * run.promise() >= by.time)
        };
        if run.faults.iter().any(restarted) {
            checked.count(format!("reigns.{of}_back_after_a_fault"), 1);
        } else {
            let what = format!(
                "member {} told of {of} {before} and then of {now}",
                sight.member
            );
            let found = checked.find(Grade::Wrong, &format!("{of} went back"), what);
            found
                .at(&[sight.member])
                .between(Some(by.time), Some(sight.time));
        }
        last = Some((now, sight));
    }
}
