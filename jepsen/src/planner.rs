//! Planner: makes the plan of a run out of what is asked for, all of it by the seed.

use std::path::PathBuf;

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    nemesis::{compatibility, lasting},
    plan::{PlannedFault, RunPlan},
    workload::messages,
};

/// The time before the first fault, so that every client has worked by then.
const WARM_UP_MS: u64 = 2_000;

/// Request for a run. The seed decides everything that is not asked for.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The seed that decides everything else.
    pub seed: u64,
    /// The name of the workload.
    pub workload: String,
    /// The nemeses that are at work at the same time.
    pub nemeses: Vec<String>,
    /// The number of members.
    pub members: Option<usize>,
    /// The failover promise.
    pub failover_ms: u64,
    /// The time for which clients and nemeses are at work.
    pub seconds: u64,
    /// Operations a second, all clients together.
    pub rate: u64,
    /// The program under test.
    pub quorate: PathBuf,
    /// A planted bug that the binary is to have.
    pub mutant: Option<String>,
    /// The members are on the loopback though they could have namespaces.
    pub loopback: bool,
}

/// Decides; the same request gives the same plan.
pub fn decide(request: &RunRequest) -> RunPlan {
    let mut rng = StdRng::seed_from_u64(request.seed);
    let drawn = if rng.random_ratio(1, 4) { 5 } else { 3 };
    let named = request.nemeses.iter().map(String::as_str);
    let named: Vec<&str> = named.filter(|name| *name != "none").collect();
    let members = request
        .members
        .unwrap_or_else(|| compatibility::members(&named, drawn));
    let low = rng.random_range(200..=300);
    let high = rng.random_range(low..=500);
    let mut snapshot_entries = rng.random_range(2..=10) * 100;
    if request.nemeses.iter().any(|name| name == "disk-full") {
        // Room for the log is taken beforehand; it is a snapshot that finds no room.
        snapshot_entries = 100;
    }
    if request.nemeses.iter().any(|name| name == "kill-follower") {
        // Whoever is started again is to come from a snapshot of this very reign.
        snapshot_entries = 100;
    }
    if request.workload == "large" {
        // As many entries as elsewhere would fill the disk.
        snapshot_entries = 100;
    }
    let mut steps: Vec<PlannedFault> = Vec::new();
    for nemesis in request.nemeses.iter().filter(|name| *name != "none") {
        // A track of its own, so that one nemesis more changes nothing of the others.
        let mut rng = StdRng::seed_from_u64(rng.random());
        steps.extend(track(nemesis, request, &mut rng));
    }
    steps.sort_by_key(|step| step.at_ms);
    let mut command = format!(
        "quorate-jepsen run --workload {} --nemesis {} --seed {} --seconds {} --members {members} --failover-ms {} --rate {}",
        request.workload,
        request.nemeses.join("+"),
        request.seed,
        request.seconds,
        request.failover_ms,
        request.rate,
    );
    if let Some(mutant) = &request.mutant {
        command += &format!(" --mutant {mutant}");
    }
    if request.loopback {
        command += " --loopback";
    }
    RunPlan {
        seed: request.seed,
        workload: request.workload.clone(),
        nemeses: request.nemeses.clone(),
        members,
        failover_ms: request.failover_ms,
        seconds: request.seconds,
        rate: rate(request),
        clients: members * 3,
        timeout_ms: [low, high],
        network: if request.loopback {
            "loopback"
        } else {
            "netns"
        }
        .to_owned(),
        snapshot_entries,
        mutant: request.mutant.clone(),
        quorate: request.quorate.clone(),
        command,
        skipped: Vec::new(),
        steps,
    }
}

/// Returns the operations a second. From afar a lease can live by writes alone, and often does at
/// an even rate; with every second seed so little is written that it can't.
fn rate(request: &RunRequest) -> u64 {
    const LITTLE: u64 = 8;
    let far = request.nemeses.iter().any(|name| name == "far");
    if far && request.seed % 2 == 1 {
        request.rate.min(LITTLE)
    } else {
        request.rate
    }
}

/// Returns the ms that a start after the fault takes, where that is more than a moment.
fn heals_slowly(nemesis: &str) -> u64 {
    match nemesis {
        "rabbit" => 6_000,
        _ => 0,
    }
}

/// Returns how many times the promise a fault lasts, at least and at most.
fn times(nemesis: &str) -> [f64; 2] {
    match nemesis {
        // Long enough for what has to come about while it lasts.
        "stranded" | "promises-differ" | "promise-changes" | "rabbit-held" => [4.0, 10.0],
        // It has come about before it lasts.
        "release-held" => [0.2, 2.0],
        _ => [0.2, 10.0],
    }
}

/// Returns the least time between the end of a fault and the next one of its nemesis, in ms.
fn rests(workload: &str) -> u64 {
    match workload {
        // A message whose tries are forgotten has to come to its third one first: who takes
        // over sooner than that forgets nothing that could be missed.
        "tries" => 2 * messages::TRY_AGAIN_MS + 2_000,
        _ => 0,
    }
}

/// Plans the faults of one nemesis, one after another.
fn track(nemesis: &str, request: &RunRequest, rng: &mut StdRng) -> Vec<PlannedFault> {
    let (failover_ms, end_ms) = (request.failover_ms, request.seconds * 1000);
    let mut steps = Vec::new();
    let mut at_ms = WARM_UP_MS + rng.random_range(0..500);
    while at_ms + 500 < end_ms {
        // As many short ones as long ones.
        let [least, most] = times(nemesis);
        let times = least * (most / least).powf(rng.random::<f64>());
        let rest = end_ms.saturating_sub(at_ms);
        let lasts_ms = if lasting::lasts(nemesis) {
            rest
        } else {
            ((failover_ms as f64 * times) as u64).min(rest)
        };
        steps.push(PlannedFault {
            nemesis: nemesis.to_owned(),
            at_ms,
            lasts_ms,
            rng_seed: rng.random(),
        });
        at_ms += lasts_ms + heals_slowly(nemesis) + rests(&request.workload);
        at_ms += rng.random_range(failover_ms..=failover_ms * 5);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(seed: u64, nemeses: &[&str]) -> RunRequest {
        RunRequest {
            seed,
            workload: "register".to_owned(),
            nemeses: nemeses.iter().map(|it| (*it).to_owned()).collect(),
            members: None,
            failover_ms: 500,
            seconds: 60,
            rate: 100,
            quorate: PathBuf::from("quorate"),
            mutant: None,
            loopback: false,
        }
    }

    #[test]
    fn the_seed_decides() {
        let plan = decide(&request(7, &["kill"]));
        assert_eq!(plan, decide(&request(7, &["kill"])));
        assert_ne!(plan.steps, decide(&request(8, &["kill"])).steps);
        assert!(plan.command.contains("--seed 7"));
    }

    #[test]
    fn faults_last_a_fifth_to_ten_promises() {
        let lasts: Vec<u64> = (0..50)
            .flat_map(|seed| decide(&request(seed, &["kill"])).steps)
            .filter(|step| step.at_ms + 5_000 < 60_000)
            .map(|step| step.lasts_ms)
            .collect();
        assert!(lasts.iter().all(|ms| (100..=5_000).contains(ms)));
        assert!(lasts.iter().any(|ms| *ms < 200) && lasts.iter().any(|ms| *ms > 3_000));
    }

    #[test]
    fn lasting_faults_and_stranded_leaders_have_their_time() {
        let plan = decide(&request(7, &["far", "kill-leader"]));
        let far: Vec<_> = plan.steps.iter().filter(|s| s.nemesis == "far").collect();
        assert!(far.len() == 1 && far[0].at_ms + far[0].lasts_ms == 60_000);
        assert!(plan.steps.len() > 3);
        let rates = [7, 8].map(|seed| decide(&request(seed, &["far"])).rate);
        assert_eq!(rates, [8, 100]);
        for seed in 0..20 {
            let plan = decide(&request(seed, &["stranded"]));
            assert!([4, 5].contains(&plan.members));
            let early = plan.steps.iter().filter(|step| step.at_ms < 50_000);
            assert!(early.clone().all(|step| step.lasts_ms >= 2_000));
            assert!(early.count() > 2);
        }
    }

    #[test]
    fn message_comes_to_third_try_between_faults() {
        for seed in 0..50 {
            let steps = decide(&RunRequest {
                workload: "tries".to_owned(),
                seconds: 40,
                ..request(seed, &["kill-leader"])
            })
            .steps;
            assert!(steps.len() >= 3, "{steps:?}");
            let apart = |two: &[PlannedFault]| two[1].at_ms - two[0].at_ms - two[0].lasts_ms;
            let least = steps.windows(2).map(apart).min().unwrap();
            assert!(least > 2 * messages::TRY_AGAIN_MS, "{steps:?}");
        }
    }

    #[test]
    fn two_nemeses_have_tracks_of_their_own() {
        let steps = decide(&request(7, &["kill", "partition"])).steps;
        let kills: Vec<_> = steps.iter().filter(|s| s.nemesis == "kill").collect();
        assert!(kills.len() > 2 && kills.len() < steps.len());
        assert!(kills.iter().all(|step| step.at_ms >= WARM_UP_MS));
    }
}
