//! Driver of the nemeses: takes each fault from its planned step to its healing.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_testkit::error_chain::chain;
use rand::{SeedableRng, rngs::StdRng};

use super::{
    catalog::{NemesisKind, named},
    contract::Nemesis,
};
use crate::{
    cancel::CancelToken, history::FaultRecord, plan::PlannedFault, run_context::RunContext,
};

/// Time limit for a fault to show.
const SHOWS_WITHIN: Duration = Duration::from_secs(2);

/// Goes through the planned faults of one nemesis, one after another.
pub async fn track(
    context: Arc<RunContext>,
    steps: Vec<PlannedFault>,
    begun: Instant,
    cancel: CancelToken,
) {
    for step in steps {
        if cancel
            .cancelled_before(begun + Duration::from_millis(step.at_ms))
            .await
        {
            return;
        }
        let Ok(kind) = named(&step.nemesis) else {
            return;
        };
        let fault = fault(&context, kind, &step, &cancel).await;
        context.journals.faults.note(|_| fault);
    }
}

/// Takes one fault from the planned step to the healing.
async fn fault(
    context: &Arc<RunContext>,
    kind: &NemesisKind,
    step: &PlannedFault,
    cancel: &CancelToken,
) -> FaultRecord {
    let mut nemesis = (kind.make)();
    let mut rng = StdRng::seed_from_u64(step.rng_seed);
    let mut fault = FaultRecord {
        nemesis: step.nemesis.clone(),
        target: String::new(),
        members: Vec::new(),
        begun: context.clock.now(),
        effective: None,
        probe: String::new(),
        healing: None,
        healed: None,
    };
    match nemesis.inject(context, &mut rng).await {
        Ok(target) => (fault.target, fault.members) = (target.description, target.members),
        Err(problem) => fault.probe = format!("not done: {}", chain(&problem)),
    }
    // Some take a while to be done.
    let heals = Instant::now() + Duration::from_millis(step.lasts_ms);
    if fault.probe.is_empty() {
        prove(context, nemesis.as_mut(), &mut fault).await;
        cancel.cancelled_before(heals).await;
    }
    fault.healing = Some(context.clock.now());
    if context.plan.mutant.as_deref() == Some("heals-nothing") {
        fault.healed = fault.healing;
        return fault;
    }
    match nemesis.heal(context).await {
        Ok(()) => fault.healed = Some(context.clock.now()),
        Err(problem) => {
            let why = chain(&problem);
            context.note_trouble(format!("{} can't be healed: {why}", step.nemesis));
        }
    }
    fault
}

async fn prove(context: &Arc<RunContext>, nemesis: &mut dyn Nemesis, fault: &mut FaultRecord) {
    let deadline = Instant::now() + SHOWS_WITHIN;
    loop {
        match nemesis.probe(context).await {
            Ok(seen) => {
                fault.effective = Some(context.clock.now());
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
