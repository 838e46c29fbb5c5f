//! Driver of the nemeses: takes each fault from its planned step to its healing.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use rand::{SeedableRng, rngs::StdRng};

use super::{
    catalog::{Kind, named},
    contract::Nemesis,
};
use crate::{error_chain::chain, history::Fault, plan::Step, run_context::Bed, stop::Stop};

/// How long a fault may take to show.
const SHOWS_WITHIN: Duration = Duration::from_secs(2);

/// Goes through the steps of one nemesis, one after another.
pub async fn track(bed: Arc<Bed>, steps: Vec<Step>, begun: Instant, stop: Stop) {
    for step in steps {
        if stop.until(begun + Duration::from_millis(step.at_ms)).await {
            return;
        }
        let Ok(kind) = named(&step.nemesis) else {
            return;
        };
        let fault = fault(&bed, kind, &step, &stop).await;
        bed.journals.faults.note(|_| fault);
    }
}

/// One fault, from the wish to the healing.
async fn fault(bed: &Arc<Bed>, kind: &Kind, step: &Step, stop: &Stop) -> Fault {
    let mut nemesis = (kind.make)();
    let mut dice = StdRng::seed_from_u64(step.dice);
    let mut fault = Fault {
        nemesis: step.nemesis.clone(),
        target: String::new(),
        members: Vec::new(),
        begun: bed.clock.now(),
        effective: None,
        probe: String::new(),
        healing: None,
        healed: None,
    };
    match nemesis.begin(bed, &mut dice).await {
        Ok(target) => (fault.target, fault.members) = (target.told, target.members),
        Err(problem) => fault.probe = format!("not done: {}", chain(&problem)),
    }
    // Some take a while to be done.
    let heals = Instant::now() + Duration::from_millis(step.lasts_ms);
    if fault.probe.is_empty() {
        prove(bed, nemesis.as_mut(), &mut fault).await;
        stop.until(heals).await;
    }
    fault.healing = Some(bed.clock.now());
    if bed.plan.mutant.as_deref() == Some("heals-nothing") {
        fault.healed = fault.healing;
        return fault;
    }
    match nemesis.heal(bed).await {
        Ok(()) => fault.healed = Some(bed.clock.now()),
        Err(problem) => {
            let why = chain(&problem);
            bed.trouble(format!("{} can't be healed: {why}", step.nemesis));
        }
    }
    fault
}

async fn prove(bed: &Arc<Bed>, nemesis: &mut dyn Nemesis, fault: &mut Fault) {
    let deadline = Instant::now() + SHOWS_WITHIN;
    loop {
        match nemesis.probe(bed).await {
            Ok(seen) => {
                fault.effective = Some(bed.clock.now());
                fault.probe = seen;
                return;
            }
            Err(seen) if Instant::now() > deadline => {
                fault.probe = format!("no effect: {}", chain(&seen));
                return;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
