//! The run: laps over systems, rounds over cases.

use std::sync::Arc;

use crate::{
    hosts::Hosts,
    options::Options,
    plan::{self, Case, Setup, What},
    progress::{BOOT, Progress},
    quorate::{Broker, Fence},
    record::{self, Record, Run},
    report,
    stage::{Stage, used_up},
};

/// So often a system may fail to start in one lap, then the lap goes on without it.
const PATIENCE: usize = 2;

/// Does all that was asked for, and writes the results after each system.
pub async fn run(options: &Options, arguments: String) {
    let hosts = Hosts::new();
    let cases = plan::chosen(options, hosts.net().is_some());
    let laps = if options.quick {
        1
    } else {
        options.laps.max(1)
    };
    let mut setups: Vec<Setup> = Vec::new();
    for case in &cases {
        if !setups.contains(&case.setup) {
            setups.push(case.setup);
        }
    }
    let trials: usize = cases.iter().map(|case| case.trials).sum();
    let seconds: f64 = cases
        .iter()
        .map(|case| case.trials as f64 * case.seconds)
        .sum();
    let seconds = seconds + (laps * setups.len()) as f64 * BOOT;
    println!(
        "{trials} trials of {} cases in {laps} laps, about {:.0} minutes",
        cases.len(),
        (seconds / 60.0).ceil()
    );
    if options.plan {
        for case in &cases {
            println!(
                "  {:3} x {} {} · {}",
                case.trials,
                case.system(),
                case.setting(),
                case.fault.name()
            );
        }
        return;
    }
    let mut record = if options.append {
        Record::load(&options.out)
    } else {
        Record::default()
    };
    record
        .runs
        .push(Run::begin(hosts.net().is_some(), arguments));
    let broker = match setups
        .iter()
        .any(|setup| matches!(setup, Setup::Quorate { .. }))
    {
        true => Some(Arc::new(Broker::start(&hosts).await)),
        false => None,
    };
    let mut progress = Progress::new(seconds);
    for lap in 0..laps {
        for setup in &setups {
            let of_setup: Vec<_> = cases.iter().filter(|case| case.setup == *setup).collect();
            system(
                lap,
                laps,
                *setup,
                &of_setup,
                &hosts,
                broker.as_ref(),
                &mut record,
                &mut progress,
            )
            .await;
            progress.step(BOOT);
            if let Some(run) = record.runs.last_mut() {
                run.ended = record::now();
            }
            report::write(&record, &options.out);
        }
    }
    println!("written to {}", options.out.display());
}

/// One system's share of a lap. After a failed trial it is started anew.
#[allow(clippy::too_many_arguments)]
async fn system(
    lap: usize,
    laps: usize,
    setup: Setup,
    cases: &[&Case],
    hosts: &Hosts,
    broker: Option<&Arc<Broker>>,
    record: &mut Record,
    progress: &mut Progress,
) {
    let fences: Vec<Fence> = [Fence::Exclusive, Fence::Lease, Fence::Management]
        .into_iter()
        .filter(|fence| cases.iter().any(|case| case.what == What::Message(*fence)))
        .collect();
    let mut stage: Option<Stage> = None;
    let mut failed_to_start = 0;
    let rounds = cases
        .iter()
        .map(|case| case.share(lap, laps))
        .max()
        .unwrap_or(0);
    for round in 0..rounds {
        for case in cases.iter().filter(|case| round < case.share(lap, laps)) {
            if let Some(up) = &stage
                && let Err(problem) = up.stands().await
            {
                println!("{} is started anew: {problem}", case.system());
                stage = None;
            }
            if stage.is_none() {
                match Stage::boot(setup, &fences, hosts, broker).await {
                    Ok(booted) => stage = Some(booted),
                    Err(problem) => {
                        println!(
                            "{} {} did not start: {problem}",
                            case.system(),
                            case.setting()
                        );
                        record.series(case).failures.push(problem);
                        failed_to_start += 1;
                        if failed_to_start == PATIENCE {
                            return;
                        }
                        continue;
                    }
                }
            }
            let Some(up) = &mut stage else { continue };
            let result = up.trial(case, hosts).await;
            progress.trial(lap, case, &result);
            let failed = result.is_err();
            let series = record.series(case);
            match result {
                Ok(measured) => series.trials.push(measured),
                Err(problem) => series.failures.push(problem),
            }
            if failed || used_up(setup) {
                hosts.heal();
                stage = None;
            }
        }
    }
}
